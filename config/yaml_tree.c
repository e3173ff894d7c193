/* config/yaml_tree.c: libyaml's events become nodes. Depth and number of nodes are bounded, so recursion is, too. */
#include "config/yaml_build.h"

#include <stdlib.h>
#include <yaml.h>

struct anchor {
    struct anchor *next;
    const char *name;
    const struct yaml_node *node;
    bool open; /* what it names is still being read: an alias to it would contain itself */
};

struct reader {
    struct yaml_build build;
    yaml_parser_t parser;
    struct str source;
    struct anchor *anchors; /* latest first: a name may be given anew */
};

static struct src_pos position(const struct reader *reader, yaml_mark_t mark) {
    return (struct src_pos){ reader->build.file, (unsigned)mark.line + 1, (unsigned)mark.column + 1 };
}

/* The reader's errors come with a byte offset only. */
static struct src_pos position_of_offset(const struct reader *reader, size_t offset) {
    struct src_pos at = { reader->build.file, 1, 1 };

    for (size_t i = 0; i < offset && i < reader->source.len; i++) {
        unsigned char c = (unsigned char)reader->source.data[i];
        if (c == '\n') {
            at.line++;
            at.column = 1;
        } else if ((c & 0xC0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

static void report_syntax(struct reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    struct yaml_syntax_error error = { .problem = parser->problem, .at = position(reader, parser->problem_mark) };

    if (parser->error == YAML_MEMORY_ERROR || parser->problem == NULL) {
        diag_add(reader->build.diags, (struct src_pos){ .file = reader->build.file }, "out of memory");
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        error.at = position_of_offset(reader, parser->problem_offset);
    } else if (parser->context != NULL) {
        error.context = parser->context;
        error.context_at = position(reader, parser->context_mark);
    }
    yaml_report_syntax(reader->build.diags, &error, reader->source);
}

/* The caller deletes the event. False, with a diag, when the text is no YAML. */
static bool next_event(struct reader *reader, yaml_event_t *event) {
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    report_syntax(reader);
    return false;
}

static bool out_of_memory(struct reader *reader, struct src_pos at) {
    diag_add(reader->build.diags, at, "the configuration is too large for its memory");
    return false;
}

/* Remembers `node` under the anchor's name; `*out` stays NULL without one. */
static bool anchor_open(struct reader *reader, const yaml_char_t *name, struct yaml_node *node, struct anchor **out) {
    struct anchor *anchor;

    if (name == NULL)
        return true;
    anchor = arena_zalloc(reader->build.arena, sizeof *anchor);
    if (anchor == NULL)
        return out_of_memory(reader, node->at);
    anchor->name = arena_strdup(reader->build.arena, str_of((const char *)name));
    if (anchor->name == NULL)
        return out_of_memory(reader, node->at);
    *anchor = (struct anchor){ .next = reader->anchors, .name = anchor->name, .node = node, .open = true };
    reader->anchors = anchor;
    *out = anchor;
    return true;
}

static void anchor_close(struct anchor *anchor) {
    if (anchor != NULL)
        anchor->open = false;
}

/* YAML's own tags change nothing, but for `!!str`; `!secret` and the like would be taken for plain text otherwise. */
static void check_tag(struct reader *reader, const yaml_char_t *tag, struct yaml_node *node) {
    static const char *const silent[] = { "!",
                                          "tag:yaml.org,2002:int",
                                          "tag:yaml.org,2002:float",
                                          "tag:yaml.org,2002:bool",
                                          "tag:yaml.org,2002:null",
                                          "tag:yaml.org,2002:map",
                                          "tag:yaml.org,2002:seq" };
    const char *text = (const char *)tag;

    if (text == NULL)
        return;
    if (strcmp(text, "tag:yaml.org,2002:str") == 0) {
        node->quoted = true;
        return;
    }
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
        if (strcmp(text, silent[i]) == 0)
            return;
    node->broken = true;
    diag_add(reader->build.diags, node->at, "the tag '%s' is not known here; secrets come from ${VAR} or a file", text);
}

static struct yaml_node *build_scalar(struct reader *reader, const yaml_event_t *event) {
    struct str text = str_make((const char *)event->data.scalar.value, event->data.scalar.length);
    struct yaml_node *node = yaml_node_new(&reader->build, YAML_SCALAR, position(reader, event->start_mark));
    struct anchor *anchor = NULL;

    if (node == NULL || !anchor_open(reader, event->data.scalar.anchor, node, &anchor))
        return NULL;
    anchor_close(anchor);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    check_tag(reader, event->data.scalar.tag, node);
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
        node->broken = true;
        diag_add(reader->build.diags, node->at, "a text cannot contain a NUL byte");
        return node;
    }
    node->text = arena_copy(reader->build.arena, text);
    return node->text.data != NULL || out_of_memory(reader, node->at) ? node : NULL;
}

static struct yaml_node *build_alias(struct reader *reader, const yaml_event_t *event, unsigned depth) {
    const char *name = (const char *)event->data.alias.anchor;
    struct src_pos at = position(reader, event->start_mark);
    const struct anchor *anchor = reader->anchors;
    struct yaml_node *node;

    while (anchor != NULL && strcmp(anchor->name, name) != 0)
        anchor = anchor->next;
    if (anchor != NULL && !anchor->open) {
        node = yaml_node_copy(&reader->build, anchor->node, depth);
        if (node != NULL)
            node->key = NULL;
        return node;
    }
    node = yaml_node_new(&reader->build, YAML_SCALAR, at);
    if (node == NULL)
        return NULL;
    node->broken = true;
    if (anchor != NULL)
        diag_add(reader->build.diags, at, "the alias '*%s' stands for something that contains it", name);
    else
        diag_add(reader->build.diags, at,
                 "no anchor '&%s' stands before this alias; put a text that begins with '*' in quotes", name);
    return node;
}

static struct yaml_node *build_node(struct reader *reader, const yaml_event_t *event, unsigned depth);

/* Reads the next node of a list or map; `*out` is NULL at its end. False, with a diag, when the document is of no use.
 */
static bool build_child(struct reader *reader, unsigned depth, struct yaml_node **out) {
    yaml_event_t event;
    bool ok = true;

    *out = NULL;
    if (!next_event(reader, &event))
        return false;
    if (event.type != YAML_SEQUENCE_END_EVENT && event.type != YAML_MAPPING_END_EVENT) {
        *out = build_node(reader, &event, depth);
        ok = *out != NULL;
    }
    yaml_event_delete(&event);
    return ok;
}

static struct yaml_node *build_list(struct reader *reader, const yaml_event_t *event, unsigned depth) {
    struct yaml_node *list = yaml_node_new(&reader->build, YAML_LIST, position(reader, event->start_mark));
    struct yaml_node *tail = NULL, *item;
    struct anchor *anchor = NULL;

    if (list == NULL || !anchor_open(reader, event->data.sequence_start.anchor, list, &anchor))
        return NULL;
    check_tag(reader, event->data.sequence_start.tag, list);
    for (;;) {
        if (!build_child(reader, depth + 1, &item))
            return NULL;
        if (item == NULL)
            break;
        yaml_append(list, &tail, item);
    }
    anchor_close(anchor);
    return list;
}

/* A key is one word; anything else is reported, and its value left out. */
static bool is_usable_key(struct reader *reader, const struct yaml_node *key) {
    if (key->broken)
        return false;
    if (key->kind == YAML_SCALAR && (key->text.len > 0 || key->quoted))
        return true;
    if (key->kind == YAML_SCALAR)
        diag_add(reader->build.diags, key->at, "a key is missing before the ':'");
    else
        diag_add(reader->build.diags, key->at, "a key must be one word; put a text with braces or brackets in quotes");
    return false;
}

static struct yaml_node *build_map(struct reader *reader, const yaml_event_t *event, unsigned depth) {
    struct yaml_node *map = yaml_node_new(&reader->build, YAML_MAP, position(reader, event->start_mark));
    struct yaml_node *tail = NULL, *key, *value;
    struct anchor *anchor = NULL;

    if (map == NULL || !anchor_open(reader, event->data.mapping_start.anchor, map, &anchor))
        return NULL;
    check_tag(reader, event->data.mapping_start.tag, map);
    for (;;) {
        if (!build_child(reader, depth + 1, &key))
            return NULL;
        if (key == NULL)
            break;
        if (!build_child(reader, depth + 1, &value) || value == NULL)
            return NULL;
        if (!is_usable_key(reader, key))
            continue;
        value->key = key;
        yaml_append(map, &tail, value);
    }
    anchor_close(anchor);
    return yaml_map_finish(&reader->build, map, depth) ? map : NULL;
}

/* NULL, with a diag, when the document is of no use. */
static struct yaml_node *build_node(struct reader *reader, const yaml_event_t *event, unsigned depth) {
    if (depth > YAML_DEPTH_MAX) {
        diag_add(reader->build.diags, position(reader, event->start_mark), "nested deeper than %d levels",
                 YAML_DEPTH_MAX);
        return NULL;
    }
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return build_alias(reader, event, depth);
    case YAML_SEQUENCE_START_EVENT:
        return build_list(reader, event, depth);
    case YAML_MAPPING_START_EVENT:
        return build_map(reader, event, depth);
    default:
        return build_scalar(reader, event);
    }
}

static struct yaml_node *empty_map(struct reader *reader) {
    return yaml_node_new(&reader->build, YAML_MAP, (struct src_pos){ reader->build.file, 1, 1 });
}

/* The events around and after the one document: its own end, and nothing more. */
static struct yaml_node *build_document(struct reader *reader) {
    struct yaml_node *root = NULL;
    bool done = false;

    while (!done) {
        yaml_event_t event;
        bool ok = true;
        if (!next_event(reader, &event))
            return NULL;
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        case YAML_DOCUMENT_START_EVENT:
            ok = root == NULL;
            if (!ok)
                diag_add(reader->build.diags, position(reader, event.start_mark),
                         "a second document begins here; one file is one configuration");
            break;
        default:
            root = build_node(reader, &event, 1);
            ok = root != NULL;
        }
        yaml_event_delete(&event);
        if (!ok)
            return NULL;
    }
    return root != NULL && !yaml_is_null(root) ? root : empty_map(reader);
}

struct yaml_node *yaml_parse(const char *file, struct str text, struct arena *arena, struct diags *diags) {
    struct reader reader = { .build = { .arena = arena, .diags = diags }, .source = text };
    struct yaml_node *root = NULL;

    reader.build.file = arena_strdup(arena, str_of(file));
    if (reader.build.file == NULL || !yaml_parser_initialize(&reader.parser)) {
        diag_add(diags, (struct src_pos){ .file = reader.build.file }, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(text.len > 0 ? text.data : ""), text.len);
    root = build_document(&reader);
    yaml_parser_delete(&reader.parser);
    return root;
}
