/* agent/broker/publication.c: see publication.h. The texts stand behind the struct, in the same block. */
#include "agent/broker/publication.h"

#include <stdlib.h>

static struct str place(char **at, struct str text) {
    struct str copy = str_make(*at, text.len);

    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

struct publication *publication_new(const struct publication_parts *parts) {
    const struct str *texts[] = { &parts->topic, &parts->payload, &parts->properties, &parts->client_id, &parts->user };
    struct publication *publication;
    size_t size = sizeof *publication;
    char *at;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->len > SIZE_MAX / 2 - size)
            return NULL;
        size += texts[i]->len;
    }
    publication = malloc(size);
    if (publication == NULL)
        return NULL;
    at = (char *)(publication + 1);
    *publication = (struct publication){
        .references = 1,
        .qos = parts->qos,
        .retain = parts->retain,
        .expires_ns = parts->expires_ns,
        .published_ns = parts->published_ns,
        .topic = place(&at, parts->topic),
    };
    publication->payload = place(&at, parts->payload);
    publication->properties = place(&at, parts->properties);
    publication->client_id = place(&at, parts->client_id);
    publication->user = place(&at, parts->user);
    return publication;
}

struct publication *publication_ref(struct publication *publication) {
    publication->references++;
    return publication;
}

void publication_unref(struct publication *publication) {
    if (publication != NULL && --publication->references == 0)
        free(publication);
}

size_t publication_size(const struct publication *publication) {
    return sizeof *publication + publication->topic.len + publication->payload.len + publication->properties.len +
           publication->client_id.len + publication->user.len;
}
