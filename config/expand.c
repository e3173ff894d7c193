/* config/expand.c: see expand.h. `${A:-${B}}` works: the word behind the operator is expanded when it is needed. */
#include "config/expand.h"

#include "agent/base/buf.h"

enum { NAME_MAX_BYTES = 128, TEXT_MAX_BYTES = 1 << 20, NESTING_MAX = 8 };

struct expansion {
    const struct expand_variables *variables;
    struct diags *diags;
    struct src_pos at; /* of the scalar */
    struct buf out;
    bool replaced;
};

static bool expand_text(struct expansion *expansion, struct str text, unsigned nesting);

static bool is_name_byte(char c, bool first) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9');
}

/* Offset of the brace that closes a reference whose inside begins `text`; text.len when there is none. */
static size_t find_close(struct str text) {
    unsigned level = 0;

    for (size_t i = 0; i < text.len; i++) {
        bool dollar = text.data[i] == '$' && i + 1 < text.len;
        if (dollar && text.data[i + 1] == '$') {
            i++;
        } else if (dollar && text.data[i + 1] == '{') {
            level++;
            i++;
        } else if (text.data[i] == '}' && level-- == 0) {
            return i;
        }
    }
    return text.len;
}

/* What stands between `${` and `}`. */
struct reference {
    char name[NAME_MAX_BYTES];
    bool or_empty; /* a colon: an empty value counts as none */
    char op;       /* '-', '?', or '\0' */
    struct str word;
};

static bool parse_reference(struct str inside, struct reference *out) {
    size_t len = 0;

    while (len < inside.len && is_name_byte(inside.data[len], len == 0))
        len++;
    if (len == 0 || len >= sizeof out->name)
        return false;
    *out = (struct reference){ .op = '\0' };
    memcpy(out->name, inside.data, len);
    inside = str_make(inside.data + len, inside.len - len);
    if (inside.len == 0)
        return true;
    out->or_empty = inside.data[0] == ':';
    if (out->or_empty)
        inside = str_make(inside.data + 1, inside.len - 1);
    if (inside.len == 0 || (inside.data[0] != '-' && inside.data[0] != '?'))
        return false;
    out->op = inside.data[0];
    out->word = str_make(inside.data + 1, inside.len - 1);
    return true;
}

static bool complain_unset(struct expansion *expansion, const struct reference *reference, bool is_set) {
    const char *state = is_set ? "empty" : "not set";

    if (reference->op == '?' && reference->word.len > 0)
        diag_add(expansion->diags, expansion->at, "environment variable '%s' is %s: %.*s", reference->name, state,
                 STR_ARGS(reference->word));
    else if (reference->op == '?')
        diag_add(expansion->diags, expansion->at, "environment variable '%s' is %s", reference->name, state);
    else
        diag_add(expansion->diags, expansion->at,
                 "environment variable '%s' is not set; ${%s:-default} gives it a default", reference->name,
                 reference->name);
    return false;
}

static bool expand_reference(struct expansion *expansion, struct str inside, unsigned nesting) {
    struct reference reference;
    const char *value;

    if (!parse_reference(inside, &reference)) {
        diag_add(expansion->diags, expansion->at,
                 "no variable's name follows '${', or an unknown operator the name; write $${ for a plain ${");
        return false;
    }
    expansion->replaced = true;
    value = expansion->variables->lookup(expansion->variables->ctx, reference.name);
    if (value != NULL && !(reference.or_empty && value[0] == '\0'))
        return buf_append_c(&expansion->out, value);
    if (reference.op == '-')
        return expand_text(expansion, reference.word, nesting + 1);
    return complain_unset(expansion, &reference, value != NULL);
}

static bool expand_text(struct expansion *expansion, struct str text, unsigned nesting) {
    if (nesting > NESTING_MAX) {
        diag_add(expansion->diags, expansion->at, "variables nested deeper than %d levels", NESTING_MAX);
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char next = text.data[i] == '$' && i + 1 < text.len ? text.data[i + 1] : '\0';
        if (next == '{') {
            struct str inside = str_make(text.data + i + 2, text.len - i - 2);
            size_t close = find_close(inside);
            if (close == inside.len) {
                diag_add(expansion->diags, expansion->at, "'${' without a '}'; write $${ for a plain ${");
                return false;
            }
            if (!expand_reference(expansion, str_make(inside.data, close), nesting))
                return false;
            i += close + 2;
            continue;
        }
        if (next == '$')
            i++;
        buf_append_char(&expansion->out, text.data[i]);
    }
    return true;
}

static void expand_scalar(struct yaml_node *node, const struct expand_variables *variables, struct arena *arena,
                          struct diags *diags) {
    struct expansion expansion = { .variables = variables, .diags = diags, .at = node->at };
    size_t errors = diags->errors;
    bool ok;

    if (node->text.len == 0 || memchr(node->text.data, '$', node->text.len) == NULL)
        return;
    buf_init(&expansion.out, TEXT_MAX_BYTES > node->text.len ? TEXT_MAX_BYTES : node->text.len);
    ok = expand_text(&expansion, node->text, 0) && !expansion.out.failed;
    node->text = ok ? arena_copy(arena, buf_str(&expansion.out)) : STR_EMPTY;
    if (!ok || node->text.data == NULL) {
        if (diags->errors == errors && (expansion.out.failed || node->text.data == NULL))
            diag_add(diags, node->at, "the text is too large after its variables are replaced");
        node->text = STR_EMPTY;
        node->broken = true;
    }
    node->expanded = expansion.replaced;
    buf_release(&expansion.out);
}

void expand_tree(struct yaml_node *node, const struct expand_variables *variables, struct arena *arena,
                 struct diags *diags) {
    if (node->kind == YAML_SCALAR)
        expand_scalar(node, variables, arena, diags);
    for (struct yaml_node *child = node->first; child != NULL; child = child->next)
        expand_tree(child, variables, arena, diags);
}
