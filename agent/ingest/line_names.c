/*
 * agent/ingest/line_names.c: see line_names.h. The rule for backslashes has its reason in two dialects: InfluxDB 1
 * looks at the byte before a separator, InfluxDB 3 reads `\\` as one backslash. A name whose runs of backslashes never
 * stand before a separator, an escaped byte or the end reads as one and the same name boundary in both.
 */
#include "agent/ingest/line_names.h"

static bool is_escaped(char c, enum name_kind kind) {
    return c == ',' || c == ' ' || (c == '=' && kind != NAME_MEASUREMENT);
}

static bool is_control(char c) {
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* True for a backslash that a reader would take for the escape of what follows it. */
static bool is_stray_backslash(struct str name, size_t at, enum name_kind kind) {
    return name.data[at] == '\\' && (at + 1 == name.len || is_escaped(name.data[at + 1], kind));
}

bool name_is_reserved(struct str name) {
    if (name.len == 4)
        return memcmp(name.data, "time", 4) == 0;
    return name.len > 4 && name.data[0] == '_' &&
           (str_eq_c(name, "_time") || str_eq_c(name, "_field") || str_eq_c(name, "_measurement"));
}

static bool needs_suffix(struct str name, enum name_kind kind) {
    return (kind == NAME_TAG_KEY || kind == NAME_FIELD_KEY) && name_is_reserved(name);
}

static bool needs_prefix(struct str name, enum name_kind kind) {
    return kind == NAME_MEASUREMENT && name.len > 0 && name.data[0] == '#';
}

bool name_is_sound(struct str name, enum name_kind kind) {
    if (needs_suffix(name, kind) || needs_prefix(name, kind))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (is_control(name.data[i]) || is_stray_backslash(name, i, kind))
            return false;
    return true;
}

struct str name_repair(struct str name, enum name_kind kind, struct arena *arena, uint64_t *changed) {
    size_t len = 0;
    char *out;

    if (name_is_sound(name, kind))
        return name;
    *changed += 1;
    out = arena_alloc(arena, name.len + 2);
    if (out == NULL)
        return (struct str){ NULL, 0 };
    if (needs_prefix(name, kind))
        out[len++] = '_';
    for (size_t i = 0; i < name.len; i++) {
        if (is_control(name.data[i]))
            out[len++] = '_';
        else
            out[len++] = is_stray_backslash(name, i, kind) ? '/' : name.data[i];
    }
    if (needs_suffix(str_make(out, len), kind)) /* also when a control byte became the underscore of `_time` */
        out[len++] = '_';
    return str_make(out, len);
}

char *name_write(char *out, struct str name, enum name_kind kind) {
    for (size_t i = 0; i < name.len; i++) {
        if (is_escaped(name.data[i], kind))
            *out++ = '\\';
        *out++ = name.data[i];
    }
    return out;
}
