/*
 * agent/status/process.h: what the process costs, from /proc/self, under the names that Prometheus clients agree on.
 */
#ifndef HELIOGRAF_STATUS_PROCESS_H
#define HELIOGRAF_STATUS_PROCESS_H

#include "agent/base/str.h"

struct process_stat {
    uint64_t cpu_ticks, start_ticks, threads, virtual_bytes, resident_pages;
};

/* Pure: reads the text of /proc/PID/stat (proc(5)); the program's name may hold blanks and brackets. */
bool process_parse_stat(struct str text, struct process_stat *out);

#endif
