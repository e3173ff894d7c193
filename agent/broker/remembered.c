/* agent/broker/remembered.c: see remembered.h. Looked through from end to end, which only a message with DUP costs. */
#include "agent/broker/remembered.h"

#include <stdlib.h>

void remembered_release(struct remembered *remembered) {
    free(remembered->entries);
    *remembered = (struct remembered){ .entries = NULL };
}

static struct remembered_entry *entry_at(const struct remembered *remembered, size_t n) {
    return &remembered->entries[(remembered->first + n) % REMEMBERED_MAX];
}

void remembered_add(struct remembered *remembered, struct message_origin origin, bool certain) {
    if (origin.id == 0)
        return;
    if (remembered->entries == NULL)
        remembered->entries = calloc(REMEMBERED_MAX, sizeof *remembered->entries);
    if (remembered->entries == NULL)
        return;
    if (remembered->count == REMEMBERED_MAX) {
        remembered->first = (remembered->first + 1) % REMEMBERED_MAX;
        remembered->count--;
    }
    *entry_at(remembered, remembered->count++) = (struct remembered_entry){ origin, certain };
}

bool remembered_take(struct remembered *remembered, struct message_origin origin) {
    struct remembered_entry *found = NULL;
    bool rising = true, repeated = false;
    size_t of_session = 0;
    unsigned last = 0;

    for (size_t i = 0; i < remembered->count; i++) {
        struct remembered_entry *entry = entry_at(remembered, i);
        if (entry->origin.session != origin.session || entry->origin.id == 0)
            continue;
        rising = rising && (entry->origin.id > last || last > UINT16_MAX / 2);
        last = entry->origin.id;
        of_session++;
        if (entry->origin.id != origin.id)
            continue;
        repeated = repeated || found != NULL;
        found = entry;
    }
    if (found == NULL || found->origin.content != origin.content)
        return false;
    if (!found->certain && (repeated || !rising || of_session < 2))
        return false;
    found->origin.id = 0;
    return true;
}
