/* config/yaml_error.c: what libyaml has to say about bad syntax, put in a form that leads to the mistake. */
#include "config/yaml_build.h"

#include <stdio.h>

/* What usually is behind a message; the first row whose words are in it counts. */
static const struct hint {
    const char *words, *hint;
} hints[] = {
    { "mapping values are not allowed", "check the indentation, and put a text that contains ': ' in quotes" },
    { "could not find expected ':'", "a ':' with a blank behind it must follow the key" },
    { "did not find expected key", "check the indentation of this line and the quotes before it" },
    { "did not find expected '-' indicator", "check the indentation of this line" },
    { "while scanning an alias", "put a text that begins with '*' in quotes" },
    { "while scanning an anchor", "put a text that begins with '&' in quotes" },
    { "unknown escape character", "in double quotes a backslash begins an escape; use single quotes" },
    { "unexpected end of stream", "the closing quote is missing" },
    { "control characters are not allowed", "a configuration is text in UTF-8" },
    { "UTF-8", "a configuration is text in UTF-8" },
};

static const char *hint_for(const struct yaml_syntax_error *error) {
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (strstr(error->problem, hints[i].words) != NULL ||
            (error->context != NULL && strstr(error->context, hints[i].words) != NULL))
            return hints[i].hint;
    return NULL;
}

/* The byte at a place that was counted in characters, '\0' past the end. */
static char byte_at(struct str source, struct src_pos at) {
    size_t i = str_starts_with(source, STR("\xEF\xBB\xBF")) ? 3 : 0;

    for (unsigned line = 1; line < at.line && i < source.len; i++)
        if (source.data[i] == '\n')
            line++;
    for (unsigned column = 1; column < at.column && i < source.len; column++)
        for (i++; i < source.len && ((unsigned char)source.data[i] & 0xC0) == 0x80;)
            i++;
    return i < source.len ? source.data[i] : '\0';
}

/* A character that begins no value: a tab in the indentation, or one that YAML keeps for itself. */
static bool report_bad_start(struct diags *diags, const struct yaml_syntax_error *error, struct str source) {
    char c;

    if (strstr(error->problem, "cannot start any token") == NULL)
        return false;
    c = byte_at(source, error->at);
    if (c == '\t')
        diag_add(diags, error->at, "not valid YAML: a tab cannot indent; use spaces");
    else
        diag_add(diags, error->at, "not valid YAML: no text begins with '%c' unless it is in quotes", c);
    return true;
}

/* The library names the place where it gave up; with these messages the mistake is where the thing began. */
static bool blames_context(const struct yaml_syntax_error *error) {
    return error->context != NULL && error->context_at.line > 0 &&
           (strcmp(error->context, "while scanning a simple key") == 0 ||
            strcmp(error->context, "while scanning an alias") == 0 ||
            strcmp(error->context, "while scanning an anchor") == 0 ||
            strstr(error->problem, "unexpected end of stream") != NULL);
}

void yaml_report_syntax(struct diags *diags, const struct yaml_syntax_error *error, struct str source) {
    const char *hint = hint_for(error), *context = error->context;
    struct src_pos at = blames_context(error) ? error->context_at : error->at;
    char where[80] = "";

    if (report_bad_start(diags, error, source))
        return;
    if (context != NULL && error->context_at.line > 0 && error->context_at.line != at.line)
        snprintf(where, sizeof where, " %s that begins on line %u", context, error->context_at.line);
    diag_add(diags, at, "not valid YAML: %s%s%s%s", error->problem, where, hint != NULL ? "; " : "",
             hint != NULL ? hint : "");
}
