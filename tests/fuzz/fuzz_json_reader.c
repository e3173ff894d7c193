/*
 * tests/fuzz/fuzz_json_reader.c: the json parser against two oracles that share no code with it: a strict checker of RFC 8259, byte
 * by byte, which says what must be accepted; and cJSON's tree, flattened here, which says what must come out.
 *
 * cJSON is laxer than JSON (leading zeros, `1.`, 1e999, control bytes as blanks and in strings, bytes that are not UTF-8), so what it
 * accepts proves nothing, and it is asked only about what the checker accepts. There it has limits of its own, left out below:
 * unpaired surrogates (it refuses), \u0000 (it cuts the string), numbers of more than 63 bytes (it cuts them).
 */
#include <cjson/cJSON.h>

#include "tests/support/parser_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "differs: %s\n", what);
        abort();
    }
}

/* --- the strict checker --- */

struct checker {
    const char *at, *end;
    bool odd;        /* holds something that cJSON cannot read */
    bool bad_utf8;
    unsigned deepest;
};

static char peek(const struct checker *c) {
    return c->at < c->end ? *c->at : '\0';
}

static bool take(struct checker *c, char wanted) {
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static void blanks(struct checker *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool digits(struct checker *c) {
    const char *start = c->at;

    while (peek(c) >= '0' && peek(c) <= '9')
        c->at++;
    return c->at > start;
}

static bool check_number(struct checker *c) {
    const char *start = c->at;

    (void)take(c, '-');
    if (!take(c, '0') && !digits(c))
        return false;
    if (take(c, '.') && !digits(c))
        return false;
    if (take(c, 'e') || take(c, 'E')) {
        if (!take(c, '+'))
            (void)take(c, '-');
        if (!digits(c))
            return false;
    }
    if (c->at - start > 62)
        c->odd = true;
    return true;
}

static bool check_escape(struct checker *c) {
    char text[5] = "";
    long code;

    if (c->at == c->end || strchr("\"\\/bfnrtu", *c->at) == NULL || *c->at == '\0')
        return false;
    if (*c->at++ != 'u')
        return true;
    if (c->end - c->at < 4)
        return false;
    memcpy(text, c->at, 4);
    for (int i = 0; i < 4; i++)
        if (strchr("0123456789abcdefABCDEF", text[i]) == NULL || text[i] == '\0')
            return false;
    code = strtol(text, NULL, 16);
    if (code == 0 || (code >= 0xD800 && code <= 0xDFFF)) /* pairs as well: the parser's unit test has them */
        c->odd = true;
    c->at += 4;
    return true;
}

static bool check_string(struct checker *c) {
    const char *start;

    if (!take(c, '"'))
        return false;
    start = c->at;
    for (;;) {
        if (c->at == c->end || (unsigned char)*c->at < 0x20)
            return false;
        if (*c->at == '"')
            break;
        if (*c->at++ == '\\' && !check_escape(c))
            return false;
    }
    if (!str_is_utf8(str_make(start, (size_t)(c->at - start))))
        c->bad_utf8 = true;
    c->at++;
    return true;
}

static bool check_word(struct checker *c, const char *word) {
    size_t len = strlen(word);

    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool check_value(struct checker *c, unsigned depth);

static bool check_members(struct checker *c, unsigned depth, bool object) {
    char close = object ? '}' : ']';

    c->at++;
    blanks(c);
    if (take(c, close))
        return true;
    for (;;) {
        blanks(c);
        if (object) {
            if (!check_string(c))
                return false;
            blanks(c);
            if (!take(c, ':'))
                return false;
        }
        if (!check_value(c, depth + 1))
            return false;
        blanks(c);
        if (take(c, close))
            return true;
        if (!take(c, ','))
            return false;
    }
}

static bool check_value(struct checker *c, unsigned depth) {
    blanks(c);
    switch (peek(c)) {
    case '{':
    case '[':
        if (depth + 1 > c->deepest)
            c->deepest = depth + 1;
        return depth < 200 && check_members(c, depth, peek(c) == '{');
    case '"':
        return check_string(c);
    case 't':
        return check_word(c, "true");
    case 'f':
        return check_word(c, "false");
    case 'n':
        return check_word(c, "null");
    default:
        return check_number(c);
    }
}

/* --- cJSON's tree, flattened as Telegraf does --- */

enum { WANTED_MAX = 4096 };

struct wanted {
    struct {
        char *key;
        const cJSON *item;
    } fields[WANTED_MAX];
    size_t count;
    bool too_many;
};

static void want(struct wanted *wanted, const char *key, const cJSON *item) {
    for (size_t i = 0; i < wanted->count; i++)
        if (strcmp(wanted->fields[i].key, key) == 0) { /* the later one wins */
            free(wanted->fields[i].key);
            memmove(&wanted->fields[i], &wanted->fields[i + 1], (wanted->count - i - 1) * sizeof wanted->fields[0]);
            wanted->count--;
        }
    if (wanted->count == WANTED_MAX) {
        wanted->too_many = true;
        return;
    }
    wanted->fields[wanted->count].key = strcpy(malloc(strlen(key) + 1), key);
    wanted->fields[wanted->count++].item = item;
}

static bool is_last_of_its_name(const cJSON *item) {
    for (const cJSON *next = item->next; next != NULL; next = next->next)
        if (strcmp(next->string, item->string) == 0)
            return false;
    return true;
}

static void flatten(struct wanted *wanted, const char *prefix, const cJSON *item) {
    unsigned index = 0;

    if (!cJSON_IsObject(item) && !cJSON_IsArray(item)) {
        bool finite = !cJSON_IsNumber(item) || item->valuedouble - item->valuedouble == 0;
        if (!cJSON_IsNull(item) && finite && prefix[0] != '\0')
            want(wanted, prefix, item);
        return;
    }
    for (const cJSON *child = item->child; child != NULL; child = child->next, index++) {
        char number[16];
        const char *name = child->string;
        char *key;
        if (cJSON_IsObject(item) && !is_last_of_its_name(child))
            continue;
        if (cJSON_IsArray(item)) {
            snprintf(number, sizeof number, "%u", index);
            name = number;
        }
        key = malloc(strlen(prefix) + strlen(name) + 2);
        sprintf(key, "%s%s%s", prefix, prefix[0] != '\0' ? "_" : "", name);
        flatten(wanted, key, child);
        free(key);
    }
}

static void compare_value(const struct value *value, const cJSON *item) {
    double d;

    if (cJSON_IsString(item)) {
        check(value->type == VALUE_STRING && str_eq_c(value->as.text, item->valuestring), "a string");
    } else if (cJSON_IsBool(item)) {
        check(value->type == VALUE_BOOLEAN && value->as.b == (cJSON_IsTrue(item) != 0), "a boolean");
    } else {
        check(value->type == VALUE_NUMBER && str_to_double(value->as.text, &d), "a number");
        check(memcmp(&d, &item->valuedouble, sizeof d) == 0, "a number's value");
    }
}

/* Points without fields are not made, so `at` moves only when one is wanted. */
static void compare_point(struct points *points, size_t *at, const cJSON *object) {
    static struct wanted wanted;

    wanted.count = 0;
    wanted.too_many = false;
    flatten(&wanted, "", object);
    if (wanted.count > 0) {
        check(*at < points->count, "a point is missing");
        const struct point *point = &points->items[(*at)++];
        check(wanted.too_many || point->field_count == wanted.count, "the count of fields");
        for (size_t i = 0; i < wanted.count && !wanted.too_many; i++) {
            const struct field *field = point_fields(points, point) + i;
            check(str_eq_c(field->key, wanted.fields[i].key), "a key");
            compare_value(&field->value, wanted.fields[i].item);
        }
    }
    for (size_t i = 0; i < wanted.count; i++)
        free(wanted.fields[i].key);
}

static void compare_with_cjson(struct points *points, const char *text, size_t size) {
    cJSON *tree = cJSON_ParseWithLength(text, size);
    size_t at = 0;

    check(tree != NULL, "cJSON refuses what is JSON");
    if (cJSON_IsObject(tree))
        compare_point(points, &at, tree);
    else
        for (const cJSON *item = tree->child; item != NULL; item = item->next)
            compare_point(points, &at, item);
    check(at == points->count, "a point too many");
    cJSON_Delete(tree);
}

static bool all_objects(const struct checker *c, const char *start) {
    cJSON *tree;
    bool fine;

    if (*start == '{' || *start == 'n')
        return true;
    tree = cJSON_ParseWithLength(start, (size_t)(c->end - start));
    fine = cJSON_IsArray(tree);
    for (const cJSON *item = fine ? tree->child : NULL; item != NULL; item = item->next)
        fine = fine && cJSON_IsObject(item);
    cJSON_Delete(tree);
    return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct parser_fixture fixture;
    struct checker checker = { .at = (const char *)data, .end = (const char *)data + size };
    const char *start;
    bool json, fine;

    /* What is stripped around the text has its own tests. */
    while (size > 0 && strchr(" \t\r\n", data[size - 1]) != NULL) /* NUL as well */
        size--;
    checker.end = (const char *)data + size;
    if (size == 0)
        return 0;
    if (fixture.type == NULL)
        check(fixture_init(&fixture, parser_find("json"), "json_strings=all json_booleans=keep"), "init");
    blanks(&checker);
    start = checker.at;
    if (checker.at == checker.end || (unsigned char)*checker.at == 0xEF)
        return 0;
    json = check_value(&checker, 0);
    blanks(&checker);
    json = json && checker.at == checker.end;
    fine = fixture_parse(&fixture, str_make((const char *)data, size), 1);
    if (!json || checker.bad_utf8) {
        check(!fine, "accepted, and it is no JSON");
        return 0;
    }
    if (checker.odd)
        return 0;
    if (checker.deepest > 60 || !all_objects(&checker, start)) {
        check(checker.deepest > 60 || !fine, "accepted, and it is no object");
        return 0;
    }
    if (!fine)
        fprintf(stderr, "%s\n", fixture.err.text);
    check(fine, "refused, and it is JSON");
    if (*start != 'n')
        compare_with_cjson(&fixture.out, start, (size_t)(checker.end - start));
    return 0;
}
