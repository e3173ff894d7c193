/*
 * agent/mqtt_client/lookup.h: a host name that is looked up on a thread of its own, for who must not wait: a name server
 * may take many seconds, and getaddrinfo cannot be interrupted. Whoever asked may leave before the answer.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_LOOKUP_H
#define HELIOGRAF_MQTT_CLIENT_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

enum { LOOKUP_ADDRESSES_MAX = 8 };

struct lookup;

/* `wake_fd` is an event descriptor, written to when the answer is there; it may be closed before that. NULL without memory
 * or threads. */
struct lookup *lookup_start(const char *host, int wake_fd);
/* False while there is no answer. Then either numeric addresses, or none of them and words. */
bool lookup_done(struct lookup *lookup, char (*addresses)[64], size_t *count, char *why, size_t why_size);
void lookup_free(struct lookup *lookup); /* also without an answer; NULL is fine */

#endif
