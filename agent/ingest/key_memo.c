/* agent/ingest/key_memo.c: see key_memo.h. */
#include "agent/ingest/key_memo.h"

void key_memo_fill(struct key_memo *memo, const struct field *fields, size_t count, struct str tags) {
    size_t used = 0;

    memo->count = 0; /* until it is whole */
    if (count > MEMO_KEYS || tags.len > MEMO_TAGS)
        return;
    for (size_t i = 0; i < count; i++) {
        struct str key = fields[i].key;
        if (key.len + 1 > MEMO_TEXT - used)
            return;
        memcpy(memo->text + used, key.data, key.len);
        memo->text[used + key.len] = '=';
        memo->keys[i].at = (uint16_t)used;
        memo->keys[i].len = (uint16_t)key.len;
        used += key.len + 1;
    }
    memcpy(memo->tags, tags.data, tags.len);
    memo->tags_len = (uint16_t)tags.len;
    memo->count = (uint16_t)count;
}
