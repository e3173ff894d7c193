/* tests/bench/mqtt_load/process.h: what another process has used, from /proc. */
#ifndef MQTT_LOAD_PROCESS_H
#define MQTT_LOAD_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process_use {
    double cpu_s;      /* user and system, of all its threads; in clock ticks, usually 10 ms */
    long rss_kb;       /* VmRSS */
    long peak_rss_kb;  /* VmHWM */
};

/* False when there is no such process, or it is a zombie; `use` is untouched then. */
bool process_read(pid_t pid, struct process_use *use);
double process_own_cpu_s(void); /* of this process */

#endif
