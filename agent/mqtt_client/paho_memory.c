/*
 * agent/mqtt_client/paho_memory.c: Paho's allocator, without its list of allocations, which takes a lock and a tree node each time,
 * and with a list of its own while a packet is read: Paho 1.3.12 forgets the topic and the properties of a packet that it
 * gives up, up to 64 KiB and more for each one that a broker sends.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/mqtt_client/paho_seam.h"

enum { STRUCT_MAX_BYTES = 256, PARTS_FEW = 32 };

void *paho_mymalloc(char *file, int line, size_t size);
void *paho_myrealloc(char *file, int line, void *old, size_t size);
void paho_myfree(char *file, int line, void *old);
void *paho_packet_malloc(char *file, int line, size_t size);
void *paho_packet_realloc(char *file, int line, void *old, size_t size);

/* What the packet that this thread is reading consists of so far. */
static _Thread_local struct {
    bool reading, any; /* any: there was something, even if it is gone again */
    void *few[PARTS_FEW], **more;
    size_t count, cap; /* of all, and of `more` */
} packet;

static void **part(size_t i) {
    return i < PARTS_FEW ? &packet.few[i] : &packet.more[i - PARTS_FEW];
}

/* Without memory for the list the part is as forgotten as Paho would have it. */
static void remember(void *made) {
    if (packet.count >= PARTS_FEW + packet.cap) {
        size_t cap = packet.cap > 0 ? packet.cap * 2 : 256;
        void **larger = realloc(packet.more, cap * sizeof *larger);
        if (larger == NULL)
            return;
        packet.more = larger;
        packet.cap = cap;
    }
    *part(packet.count++) = made;
    packet.any = true;
}

/* What Paho frees or moves itself is what it made first: the packet, the array of properties. */
static void **find(const void *old) {
    for (size_t i = 0; i < packet.count; i++)
        if (*part(i) == old)
            return part(i);
    return NULL;
}

void paho_packet_begin(void) {
    packet.reading = true;
    packet.any = false;
    packet.count = 0;
}

bool paho_packet_end(bool kept) {
    packet.reading = false;
    for (size_t i = 0; i < packet.count && !kept; i++)
        free(*part(i));
    free(packet.more);
    packet.more = NULL;
    packet.cap = packet.count = 0;
    return packet.any;
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
    void **known = packet.reading && old != NULL ? find(old) : NULL;

    (void)file;
    (void)line;
    if (known != NULL)
        *known = NULL;
    free(old);
}

/* For the objects that make packets (paho.mk). */
void *paho_packet_malloc(char *file, int line, size_t size) {
    void *made = paho_mymalloc(file, line, size);

    if (packet.reading && made != NULL)
        remember(made);
    return made;
}

void *paho_packet_realloc(char *file, int line, void *old, size_t size) {
    void **known = packet.reading && old != NULL ? find(old) : NULL;
    void *made = paho_myrealloc(file, line, old, size);

    if (known != NULL && made != NULL)
        *known = made;
    return made;
}
