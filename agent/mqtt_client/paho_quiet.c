/* agent/mqtt_client/paho_quiet.c: what Paho does beside its work, and is better left undone. See paho_wraps.h. */
#include "agent/mqtt_client/paho_seam.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { STRUCT_MAX_BYTES = 256 };

char *paho_getenv(const char *name);
void paho_StackTrace_entry(const char *name, int line, int level);
void paho_StackTrace_exit(const char *name, int line, void *result, int level);
void *paho_mymalloc(char *file, int line, size_t size);
void *paho_myrealloc(char *file, int line, void *old, size_t size);
void paho_myfree(char *file, int line, void *old);

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

/* Paho's shadow call stack and its list of allocations take a lock and a tree node each time. */
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

/*
 * Zeroed, where it may be a struct: Paho 1.3.12 frees the properties of a CONNACK that has none, which is what a 3.1.1
 * broker answers to MQTT 5, without having set them.
 */
void *paho_mymalloc(char *file, int line, size_t size) {
    void *made = malloc(size);

    (void)file;
    (void)line;
    if (made != NULL && size <= STRUCT_MAX_BYTES)
        memset(made, 0, size); /* glibc's calloc passes by the thread's cache */
    return made;
}

void *paho_myrealloc(char *file, int line, void *old, size_t size) {
    (void)file;
    (void)line;
    return realloc(old, size);
}

void paho_myfree(char *file, int line, void *old) {
    (void)file;
    (void)line;
    free(old);
}
