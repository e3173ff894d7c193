/*
 * parsers/value.c: the payload is one bare value, as many PLC gateways and small devices publish it: `21.5`. As in Telegraf the last
 * of several words counts, unless the type is a string; value_strict wants exactly one word.
 */
#include <strings.h>

#include "parsers/parser.h"

enum data_type {
    TYPE_INTEGER, TYPE_INT, TYPE_FLOAT, TYPE_LONG, TYPE_STRING, TYPE_STR, TYPE_TEXT, TYPE_BOOLEAN, TYPE_BOOL, TYPE_BASE64,
    TYPE_AUTO_INTEGER, TYPE_AUTO_FLOAT,
};

static const char *const type_names[] = { "integer", "int",  "float",  "long",         "string",     "str", "text",
                                          "boolean", "bool", "base64", "auto_integer", "auto_float", NULL };

struct value_parser {
    int type; /* enum data_type */
    char *field_name;
    bool strict;
};

#define AT(member) offsetof(struct value_parser, member)

static const struct cfg_field value_options[] = {
    { .key = "data_type", .type = CFG_ENUM, .offset = AT(type), .fallback = "integer", .names = type_names,
      .help = "What the payload is; auto_integer and auto_float fall back to a string; long is a float, as in Telegraf." },
    { .key = "value_field_name", .type = CFG_STRING, .offset = AT(field_name), .fallback = "value",
      .help = "Name of the field." },
    { .key = "value_strict", .type = CFG_BOOL, .offset = AT(strict), .fallback = "false",
      .help = "Refuse a payload of several words instead of taking the last one, as Telegraf does." },
    CFG_END,
};

/* Length of the blank at `text`: Unicode's White_Space, as in Go; 0 when there is none. */
static size_t blank_length(struct str text) {
    const unsigned char *at = (const unsigned char *)text.data;

    if (text.len >= 1 && (at[0] == ' ' || (at[0] >= '\t' && at[0] <= '\r')))
        return 1;
    if (text.len >= 2 && at[0] == 0xC2 && (at[1] == 0x85 || at[1] == 0xA0))
        return 2;
    if (text.len < 3)
        return 0;
    if (at[0] == 0xE2 && at[1] == 0x80 && (at[2] <= 0x8A || at[2] == 0xA8 || at[2] == 0xA9 || at[2] == 0xAF))
        return at[2] >= 0x80 ? 3 : 0;
    if ((at[0] == 0xE2 && at[1] == 0x81 && at[2] == 0x9F) || (at[0] == 0xE1 && at[1] == 0x9A && at[2] == 0x80) ||
        (at[0] == 0xE3 && at[1] == 0x80 && at[2] == 0x80))
        return 3;
    return 0;
}

static size_t blank_before(struct str text) {
    for (size_t len = 1; len <= 3 && len <= text.len; len++)
        if (blank_length(str_make(text.data + text.len - len, len)) == len)
            return len;
    return 0;
}

/* Without NULs, a byte-order mark, and blanks around. */
static struct str strip(struct str text) {
    size_t len;

    while (text.len > 0 && text.data[text.len - 1] == '\0')
        text.len--;
    while (text.len > 0 && text.data[0] == '\0')
        text = str_make(text.data + 1, text.len - 1);
    if (str_starts_with(text, STR("\xEF\xBB\xBF")))
        text = str_make(text.data + 3, text.len - 3);
    while ((len = blank_length(text)) > 0)
        text = str_make(text.data + len, text.len - len);
    while ((len = blank_before(text)) > 0)
        text.len -= len;
    return text;
}

static struct str last_word(struct str text) {
    size_t start = text.len;

    while (start > 0 && blank_before(str_make(text.data, start)) == 0)
        start--;
    return str_make(text.data + start, text.len - start);
}

static bool equals_any(struct str text, const char *const *words) {
    for (; *words != NULL; words++)
        if (text.len == strlen(*words) && strncasecmp(text.data, *words, text.len) == 0)
            return true;
    return false;
}

/* Go's spellings of what no database stores. */
static bool is_not_finite(struct str word) {
    static const char *const words[] = { "nan",  "+nan",     "-nan",      "inf",       "+inf",
                                         "-inf", "infinity", "+infinity", "-infinity", NULL };

    return equals_any(word, words);
}

/*
 * Nothing to store, and no error either: words with which home automation says "no number now". Where a string is an answer too, the
 * word is that string, as in Telegraf.
 */
static bool is_no_number(enum data_type type, struct str word) {
    static const char *const words[] = { "none", "null", "unknown", "unavailable", NULL };

    if (type == TYPE_AUTO_INTEGER)
        return false;
    return is_not_finite(word) || (type != TYPE_AUTO_FLOAT && equals_any(word, words));
}

static bool to_boolean(struct str word, bool *out) {
    static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True", NULL };
    static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False", NULL };

    for (const char *const *at = yes; *at != NULL; at++)
        if (str_eq_c(word, *at))
            return *out = true;
    for (const char *const *at = no; *at != NULL; at++)
        if (str_eq_c(word, *at)) {
            *out = false;
            return true;
        }
    return false;
}

/* RFC 4648 section 4, with padding. */
static struct str to_base64(struct arena *arena, struct str bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = (const unsigned char *)bytes.data;
    size_t len = (bytes.len + 2) / 3 * 4;
    char *text = arena_alloc(arena, len), *to = text;

    if (text == NULL)
        return (struct str){ NULL, 0 };
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)from[i] << 16 | (left > 1 ? (uint32_t)from[i + 1] << 8 : 0) | (left > 2 ? from[i + 2] : 0);
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[group & 63] : '=';
    }
    return str_make(text, len);
}

static bool read_text(struct str text, struct value *out, struct err *err) {
    if (!str_is_utf8(text))
        return err_set(err, ERR_SYNTAX, "the payload is not valid UTF-8");
    *out = value_string(text);
    return true;
}

static bool not_a(const char *what, struct str word, struct err *err) {
    int shown = word.len > 64 ? 64 : (int)word.len;
    bool json = word.len > 0 && strchr("{[]}", word.data[0] != '\0' ? word.data[0] : 'x') != NULL;
    bool comma = word.len > 0 && memchr(word.data, ',', word.len) != NULL;

    return err_set(err, ERR_SYNTAX, "'%.*s' is not %s%s", shown, word.data, what,
                   json    ? " (it looks like JSON: is data_format json meant?)"
                   : comma ? " (a decimal comma is not read)"
                           : "");
}

static bool read_number(enum data_type type, struct str word, struct value *out, struct err *err) {
    switch (type) {
    case TYPE_FLOAT:
    case TYPE_LONG:
        out->type = VALUE_FLOAT;
        return str_to_double(word, &out->as.f) || not_a("a number in the range of a float", word, err);
    case TYPE_AUTO_FLOAT:
        out->type = VALUE_FLOAT;
        return str_to_double(word, &out->as.f) || read_text(word, out, err);
    case TYPE_AUTO_INTEGER:
        out->type = VALUE_INTEGER;
        return str_to_int64(word, &out->as.i) || read_text(word, out, err);
    default:
        out->type = VALUE_INTEGER;
        return str_to_int64(word, &out->as.i) || not_a("an integer of 64 bits (is data_type float meant?)", word, err);
    }
}

/* *none: there is nothing to store, and that is fine. */
static bool read_value(const struct value_parser *parser, const struct message *message, struct points *out,
                       struct value *value, bool *none, struct err *err) {
    struct str text = strip(message->payload), word = last_word(text);
    enum data_type type = (enum data_type)parser->type;

    if (type == TYPE_STRING || type == TYPE_STR || type == TYPE_TEXT)
        return read_text(text, value, err);
    if (text.len == 0)
        return *none = true;
    if (type == TYPE_BASE64) {
        *value = value_string(to_base64(&out->arena, message->payload));
        return value->as.text.data != NULL || err_set(err, ERR_LIMIT, "the payload is too large");
    }
    if (parser->strict && word.len != text.len)
        return not_a("a single word, as value_strict wants it", text, err);
    if (type == TYPE_BOOLEAN || type == TYPE_BOOL) {
        value->type = VALUE_BOOLEAN;
        return to_boolean(word, &value->as.b) || not_a("a boolean (1, t, true, 0, f, false)", word, err);
    }
    if (is_no_number(type, word)) {
        points_leave_out(out, str_of(parser->field_name), "a word that stands for no value");
        return *none = true;
    }
    return read_number(type, word, value, err);
}

static bool value_parse(void *self, const struct message *message, struct points *out, struct err *err) {
    const struct value_parser *parser = self;
    struct points_mark before = points_mark(out);
    struct value value;
    bool none = message->payload.len == 0;

    if (none || !read_value(parser, message, out, &value, &none, err) || none) {
        points_rewind(out, before);
        return none;
    }
    if (points_add(out) != NULL && points_add_field(out, str_of(parser->field_name), value))
        return true;
    points_rewind(out, before);
    return err_set(err, ERR_LIMIT, "the message makes too many points");
}

static bool value_init(void *self, struct err *err) {
    struct value_parser *parser = self;

    return parser->field_name[0] != '\0' || err_set(err, ERR_MISSING, "value_field_name is empty");
}

const struct parser_type parser_value = {
    .name = "value",
    .summary = "One bare value: a number, a boolean, a text, or bytes.",
    .state_size = sizeof(struct value_parser),
    .options = value_options,
    .init = value_init,
    .parse = value_parse,
};
