/* outputs/output.c: what all outputs share: the words for an outcome, and the reply. */
#include "outputs/output.h"

#include <stdlib.h>

/* More than this many rejected lines are a flood; their memory is given back when the next request begins. */
enum { REJECTED_KEPT = 1024 };

const char *outcome_name(enum outcome outcome) {
    switch (outcome) {
    case DELIVERED:
        return "delivered";
    case PARTIAL:
        return "partial";
    case SPLIT:
        return "split";
    case RETRY_LATER:
        return "retry_later";
    case REJECTED:
        return "rejected";
    }
    return "unknown";
}

void reply_init(struct reply *reply) {
    *reply = (struct reply){ .outcome = RETRY_LATER, .retry = RETRY_BACKOFF };
}

void reply_reset(struct reply *reply) {
    struct rejected_line *rejected = reply->rejected;
    size_t cap = reply->rejected_cap;

    if (cap > REJECTED_KEPT) {
        free(rejected);
        rejected = NULL;
        cap = 0;
    }
    reply_init(reply);
    reply->rejected = rejected;
    reply->rejected_cap = cap;
}

void reply_release(struct reply *reply) {
    free(reply->rejected);
    reply_init(reply);
}

static bool grow(struct reply *reply) {
    size_t cap = reply->rejected_cap == 0 ? 16 : reply->rejected_cap * 2;
    struct rejected_line *larger = realloc(reply->rejected, cap * sizeof *larger);

    if (larger == NULL)
        return false;
    reply->rejected = larger;
    reply->rejected_cap = cap;
    return true;
}

bool reply_reject(struct reply *reply, uint32_t line, struct str reason) {
    struct rejected_line *rejected;

    if (reply->rejected_count > 0 && reply->rejected[reply->rejected_count - 1].line >= line)
        return false;
    if (reply->rejected_count == reply->rejected_cap && !grow(reply))
        return false;
    rejected = &reply->rejected[reply->rejected_count++];
    rejected->line = line;
    reply_words(rejected->reason, sizeof rejected->reason, reason);
    return true;
}

/* Where the last whole UTF-8 sequence ends: a cut must not leave half a character. */
static size_t whole_characters(const char *text, size_t len) {
    size_t start = len;

    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0 || str_is_utf8(str_make(text + start - 1, len - start + 1)))
        return len;
    return start - 1;
}

void reply_words(char *out, size_t size, struct str text) {
    size_t len;

    text = str_trim(text);
    len = text.len < size - 1 ? text.len : size - 1;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        out[i] = c < 0x20 || c == 0x7F ? ' ' : (char)c;
    }
    if (len < text.len)
        len = whole_characters(out, len);
    out[len] = '\0';
    if (str_is_utf8(str_make(out, len)))
        return;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)out[i] >= 0x80)
            out[i] = '?';
}
