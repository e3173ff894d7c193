/*
 * tests/fuzz/fuzz_acl.c: bytes as an ACL file, and questions to what came of it: the decisions must be those of a plain model, which puts
 * names into patterns as text and matches with topic_filter_match. A file that is refused is refused with words. The input is the user, the
 * client id, the topic, each ended by a line feed, and the file.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/topic_filter.h"
#include "agent/broker/acl_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of its own, so that the sanitizer sees a read past the end. */
static struct str exact(struct str text) {
    char *copy = malloc(text.len > 0 ? text.len : 1);

    if (copy == NULL)
        abort();
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    return str_make(copy, text.len);
}

static void drop(struct str text) {
    free((char *)(uintptr_t)text.data);
}

/* --- the model: reads the file again for each question, in the plainest way --- */

struct ask {
    struct str user, client_id, topic;
    enum acl_action action;
};

static bool contains_any(struct str text, const char *bytes) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] != '\0' && strchr(bytes, text.data[i]) != NULL)
            return true;
    return false;
}

static bool starts_with_dollar(struct str text) {
    return text.len > 0 && text.data[0] == '$';
}

/* False when the names cannot be put in. */
static bool substitute(struct str filter, const struct ask *ask, bool denies, struct buf *out) {
    bool wild = contains_any(ask->user, "+#") || contains_any(ask->client_id, "+#");

    if (wild && !denies)
        return false;
    for (size_t i = 0; i < filter.len; i++) {
        char placeholder = acl_placeholder(filter, i);
        struct str name = placeholder == 'u' ? ask->user : ask->client_id;
        if (placeholder == 0) {
            buf_append_char(out, filter.data[i]);
            continue;
        }
        if (placeholder == 'u' && name.len == 0)
            return false;
        if (denies ? contains_any(name, "+#") : name.len == 0 || contains_any(name, "+#/"))
            return false;
        buf_append_str(out, name);
        i++;
    }
    return true;
}

static bool rule_matches(struct str filter, bool pattern, bool denies, const struct ask *ask) {
    struct buf text = BUF_INIT(1 << 24);
    bool matches = !pattern || substitute(filter, ask, denies, &text);

    if (matches && pattern) {
        matches = !(starts_with_dollar(ask->topic) && !starts_with_dollar(filter) && !denies);
        filter = buf_str(&text);
    }
    if (str_starts_with(filter, STR("$share/"))) /* no topic does; topic_filter_match would strip it */
        matches = false;
    if (matches && ask->action == ACL_SUBSCRIBE)
        matches = topic_filter_covers(filter, ask->topic);
    else if (matches)
        matches = topic_filter_match(filter, ask->topic);
    buf_release(&text);
    return matches;
}

static struct str word_of(struct str *rest) {
    struct str word = str_trim(*rest);
    size_t len = 0;

    while (len < word.len && word.data[len] != ' ' && word.data[len] != '\t')
        len++;
    *rest = str_trim(str_make(word.data + len, word.len - len));
    return str_make(word.data, len);
}

static void apply(struct str rest, bool pattern, const struct ask *ask, bool *granted, bool *denied) {
    struct str filter = rest, access = word_of(&rest);
    uint8_t bit = ask->action == ACL_PUBLISH ? ACL_WRITE : ACL_READ;
    bool denies;

    if (rest.len > 0)
        filter = rest;
    else
        access = STR("readwrite");
    denies = str_eq_c(access, "deny");
    if (!denies && !str_eq_c(access, "readwrite") && !str_eq_c(access, bit == ACL_WRITE ? "write" : "read"))
        return;
    if (rule_matches(filter, pattern, denies, ask))
        *(denies ? denied : granted) = true;
}

static bool model_allows(struct str file, const struct ask *ask) {
    struct str user = STR_EMPTY;
    bool granted = false, denied = false;

    if (str_starts_with(file, STR("\xEF\xBB\xBF")))
        file = str_make(file.data + 3, file.len - 3);
    while (file.data != NULL) {
        struct str rest = str_split(&file, '\n'), word = word_of(&rest);
        if (str_eq_c(word, "user"))
            user = rest;
        else if (str_eq_c(word, "pattern") || (str_eq_c(word, "topic") && str_eq(user, ask->user)))
            apply(rest, word.data[0] == 'p', ask, &granted, &denied);
    }
    return !denied && (granted || ask->action == ACL_SUBSCRIBE);
}

/* --- */

static void compare(const struct acl *acl, struct str file, const struct ask *ask) {
    bool reserved = ask->action == ACL_PUBLISH && !acl_allows(NULL, ask->action, ask->user, ask->client_id, ask->topic);
    bool ours = acl_allows(acl, ask->action, ask->user, ask->client_id, ask->topic), model = !reserved && model_allows(file, ask);

    if (ours == model)
        return;
    fprintf(stderr, "action %d: we say %d, the model %d\n", (int)ask->action, ours, model);
    abort();
}

static void question_all(const struct acl *acl, struct str file, struct ask *ask) {
    struct err err = ERR_INIT;

    /* The broker asks with valid topics and filters only; others must merely not crash. */
    bool is_filter = topic_filter_valid(ask->topic, &err) && !str_starts_with(ask->topic, STR("$share/"));
    bool is_topic = is_filter && !contains_any(ask->topic, "+#");
    for (int action = ACL_PUBLISH; action <= ACL_SUBSCRIBE; action++) {
        ask->action = (enum acl_action)action;
        if (ask->action == ACL_SUBSCRIBE ? is_filter : is_topic)
            compare(acl, file, ask);
        else
            acl_allows(acl, ask->action, ask->user, ask->client_id, ask->topic);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str rest = { (const char *)data, size };
    struct diags diags = { 0 };
    struct str file;
    struct ask ask = { 0 };
    struct acl *acl;

    ask.user = exact(str_split(&rest, '\n'));
    ask.client_id = exact(rest.data != NULL ? str_split(&rest, '\n') : STR_EMPTY);
    ask.topic = exact(rest.data != NULL ? str_split(&rest, '\n') : STR_EMPTY);
    file = exact(rest.data != NULL ? rest : STR_EMPTY);
    acl = acl_parse("fuzz", file, &diags);
    if ((acl == NULL) != (diags.errors > 0))
        abort();
    if (acl != NULL)
        question_all(acl, file, &ask);
    acl_unref(acl);
    diags_release(&diags);
    drop(ask.user);
    drop(ask.client_id);
    drop(ask.topic);
    drop(file);
    return 0;
}
