/* tests/bench/mqtt_load/process.c: /proc/PID/stat and /proc/PID/status. */
#include "tests/bench/mqtt_load/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Fields 14 and 15, counted from behind the name, which may hold anything. */
static bool read_cpu(pid_t pid, double *cpu_s) {
    char path[64], text[1024], state;
    unsigned long long user, system;
    size_t len;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return false;
    len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state, &user, &system) != 3 || state == 'Z')
        return false;
    *cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static bool read_memory(pid_t pid, struct process_use *use) {
    char path[64], line[256];
    int found = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    file = fopen(path, "r");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL)
        found += (sscanf(line, "VmRSS: %ld", &use->rss_kb) == 1) + (sscanf(line, "VmHWM: %ld", &use->peak_rss_kb) == 1);
    fclose(file);
    return found == 2;
}

bool process_read(pid_t pid, struct process_use *use) {
    struct process_use found = { .cpu_s = 0 };

    if (!read_cpu(pid, &found.cpu_s) || !read_memory(pid, &found))
        return false;
    *use = found;
    return true;
}

double process_own_cpu_s(void) {
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}
