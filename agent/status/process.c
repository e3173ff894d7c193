/* agent/status/process.c: see process.h. What the system does not tell is left out, never made up. */
#include "agent/status/process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/base/fs.h"
#include "agent/status/status.h"

#define IN_PROCESS(name_, kind_, help_)                                                                                \
    static const struct metric_desc name_ = {                                                                          \
        .name = "process_" #name_, .help = help_, .measurement = "process", .kind = kind_                              \
    }

IN_PROCESS(cpu_seconds_total, METRIC_COUNTER, "CPU time used, user and system.");
IN_PROCESS(resident_memory_bytes, METRIC_GAUGE, "Memory in RAM.");
IN_PROCESS(virtual_memory_bytes, METRIC_GAUGE, "Address space in use.");
IN_PROCESS(start_time_seconds, METRIC_GAUGE, "When the process started, seconds since 1970-01-01 UTC.");
IN_PROCESS(open_fds, METRIC_GAUGE, "Open file descriptors.");
IN_PROCESS(max_fds, METRIC_GAUGE, "File descriptors the process may open.");
IN_PROCESS(threads, METRIC_GAUGE, "Threads.");

static const struct metric_desc build_info = {
    .name = "build_info",
    .help = "Always 1; the labels say which build this is.",
    .measurement = "agent",
    .kind = METRIC_GAUGE,
};

/* Columns of /proc/PID/stat, from 1; the name, in brackets, is the second. */
enum {
    FIELD_AFTER_NAME = 3,
    FIELD_UTIME = 14,
    FIELD_STIME = 15,
    FIELD_THREADS = 20,
    FIELD_START = 22,
    FIELD_VSIZE = 23,
    FIELD_RSS = 24,
};

bool process_parse_stat(struct str text, struct process_stat *out) {
    const uint32_t wanted = 1u << FIELD_UTIME | 1u << FIELD_STIME | 1u << FIELD_THREADS | 1u << FIELD_START |
                            1u << FIELD_VSIZE | 1u << FIELD_RSS;
    uint64_t number[FIELD_RSS + 1] = { 0 };
    uint32_t found = 0;
    size_t close = text.len;

    while (close > 0 && text.data[close - 1] != ')')
        close--;
    if (close == 0)
        return false;
    struct str rest = str_trim(str_make(text.data + close, text.len - close));
    for (unsigned field = FIELD_AFTER_NAME; rest.data != NULL && field <= FIELD_RSS; field++)
        if (str_to_uint64(str_split(&rest, ' '), &number[field]))
            found |= 1u << field;
    if ((found & wanted) != wanted)
        return false;
    *out = (struct process_stat){
        .cpu_ticks = number[FIELD_UTIME] + number[FIELD_STIME],
        .start_ticks = number[FIELD_START],
        .threads = number[FIELD_THREADS],
        .virtual_bytes = number[FIELD_VSIZE],
        .resident_pages = number[FIELD_RSS],
    };
    return true;
}

static bool read_stat(struct process_stat *stat) {
    struct buf text = BUF_INIT(4096);
    bool ok = fs_read_file("/proc/self/stat", &text, NULL) && process_parse_stat(buf_str(&text), stat);

    buf_release(&text);
    return ok;
}

/* When the system started, as the kernel says it: the same at every look, unlike now less uptime. 0 when not known. */
static double boot_time(void) {
    struct buf text = BUF_INIT(1 << 20);
    struct str rest = { NULL, 0 };
    uint64_t boot = 0;

    if (fs_read_file("/proc/stat", &text, NULL))
        rest = buf_str(&text);
    while (rest.data != NULL && boot == 0) {
        struct str line = str_split(&rest, '\n');

        if (str_starts_with(line, STR("btime ")))
            str_to_uint64(str_make(line.data + 6, line.len - 6), &boot);
    }
    buf_release(&text);
    return (double)boot;
}

static void put(const struct metric_writer *writer, const struct metric_desc *desc, double value) {
    metric_sample(writer, desc, NULL, NULL, NULL, NULL, value);
}

static void put_stat(const struct metric_writer *writer) {
    double ticks_per_second = (double)sysconf(_SC_CLK_TCK), boot = boot_time();
    struct process_stat stat;

    if (!read_stat(&stat))
        return;
    put(writer, &cpu_seconds_total, (double)stat.cpu_ticks / ticks_per_second);
    put(writer, &resident_memory_bytes, (double)stat.resident_pages * (double)sysconf(_SC_PAGESIZE));
    put(writer, &virtual_memory_bytes, (double)stat.virtual_bytes);
    put(writer, &threads, (double)stat.threads);
    if (boot > 0)
        put(writer, &start_time_seconds, boot + (double)stat.start_ticks / ticks_per_second);
}

static void put_descriptors(const struct metric_writer *writer) {
    DIR *directory = opendir("/proc/self/fd");
    struct rlimit limit;
    unsigned count = 0;

    if (directory != NULL) {
        for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
            count += entry->d_name[0] != '.';
        closedir(directory);
        put(writer, &open_fds, count - 1); /* without the one that this walk had open */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        put(writer, &max_fds, (double)limit.rlim_cur);
}

void status_collect_process(void *unused, const struct metric_writer *writer) {
    (void)unused;
    metric_sample(writer, &build_info, "version", HELIOGRAF_VERSION, "compiler", __VERSION__, 1);
    put_stat(writer);
    put_descriptors(writer);
}
