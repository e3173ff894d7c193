/* agent/mqtt_client/paho_quiet.c: what Paho does beside its work, and is better left undone. See paho_wraps.h. */
#include "agent/mqtt_client/paho_seam.h"

#include <stdatomic.h>

char *paho_getenv(const char *name);
void paho_StackTrace_entry(const char *name, int line, int level);
void paho_StackTrace_exit(const char *name, int line, void *result, int level);

static _Atomic bool called; /* by Paho */

bool paho_quiet_used(void) {
    return atomic_load(&called);
}

/* http_proxy is for HTTP: Paho 1.3.12 sends even tcp://127.0.0.1 through it. Its trace variables would write to stdout.
 */
char *paho_getenv(const char *name) {
    (void)name;
    atomic_store(&called, true); /* the first client asks for the trace's settings */
    return NULL;
}

/* Paho's shadow call stack takes a lock and a tree node each time. */
void paho_StackTrace_entry(const char *name, int line, int level) {
    (void)name;
    (void)line;
    (void)level;
}

void paho_StackTrace_exit(const char *name, int line, void *result, int level) {
    (void)name;
    (void)line;
    (void)result;
    (void)level;
}
