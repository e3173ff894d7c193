/* config/diag.c: see diag.h. */
#include "config/diag.h"

#include <stdlib.h>
#include <string.h>

void diags_release(struct diags *diags) {
    free(diags->items);
    *diags = (struct diags){ .items = NULL };
}

static int compare_text(const char *a, const char *b) {
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

static int compare(const void *left, const void *right) {
    const struct diag *a = left, *b = right;
    int order = compare_text(a->at.file, b->at.file);

    if (order == 0)
        order = (a->at.line > b->at.line) - (a->at.line < b->at.line);
    if (order == 0)
        order = (a->at.column > b->at.column) - (a->at.column < b->at.column);
    if (order == 0)
        order = (a->level > b->level) - (a->level < b->level);
    return order != 0 ? order : strcmp(a->text, b->text);
}

/* Text from outside is part of it: no control byte may reach a terminal, and a cut never splits a character. */
static void clean(char *text, size_t size, int wanted) {
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
    if (wanted < 0 || (size_t)wanted < size)
        return;
    size_t end = size - sizeof "...";
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80)
        end--;
    memcpy(text + end, "...", sizeof "...");
}

static bool is_known(const struct diags *diags, const struct diag *diag) {
    for (size_t i = 0; i < diags->count; i++)
        if (compare(&diags->items[i], diag) == 0)
            return true;
    return false;
}

static bool make_room(struct diags *diags) {
    size_t wanted = diags->cap == 0 ? 16 : diags->cap * 2;
    struct diag *larger;

    if (diags->count >= DIAGS_MAX)
        return false;
    if (diags->count < diags->cap)
        return true;
    larger = realloc(diags->items, wanted * sizeof *larger);
    if (larger == NULL)
        return false;
    diags->items = larger;
    diags->cap = wanted;
    return true;
}

static void add(struct diags *diags, struct src_pos at, enum diag_level level, const char *format, va_list args)
    PRINTF_LIKE(4, 0);

static void add(struct diags *diags, struct src_pos at, enum diag_level level, const char *format, va_list args) {
    struct diag diag = { .at = at, .level = level };
    int wanted = vsnprintf(diag.text, sizeof diag.text, format, args);

    clean(diag.text, sizeof diag.text, wanted);
    if (is_known(diags, &diag))
        return;
    /* Counted even when it cannot be kept: an error without memory is still a reason not to start. */
    *(level == DIAG_ERROR ? &diags->errors : &diags->warnings) += 1;
    if (make_room(diags))
        diags->items[diags->count++] = diag;
    else
        diags->unshown++;
}

void diag_add(struct diags *diags, struct src_pos at, const char *format, ...) {
    va_list args;

    va_start(args, format);
    add(diags, at, DIAG_ERROR, format, args);
    va_end(args);
}

void diag_warn(struct diags *diags, struct src_pos at, const char *format, ...) {
    va_list args;

    va_start(args, format);
    add(diags, at, DIAG_WARNING, format, args);
    va_end(args);
}

void diags_print(struct diags *diags, FILE *to) {
    if (diags->count > 0)
        qsort(diags->items, diags->count, sizeof *diags->items, compare);
    for (size_t i = 0; i < diags->count; i++) {
        const struct diag *diag = &diags->items[i];
        if (diag->at.file != NULL && diag->at.line > 0)
            fprintf(to, "%s:%u:%u: ", diag->at.file, diag->at.line, diag->at.column);
        else if (diag->at.file != NULL)
            fprintf(to, "%s: ", diag->at.file);
        fprintf(to, "%s: %s\n", diag->level == DIAG_ERROR ? "error" : "warning", diag->text);
    }
    if (diags->unshown > 0)
        fprintf(to, "%zu more complaints are not shown\n", diags->unshown);
}
