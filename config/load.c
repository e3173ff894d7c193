/* config/load.c: finding and reading the files; see load.h. */
#include "config/load.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fs.h"
#include "config/expand.h"
#include "config/merge.h"

enum { FILE_MAX_BYTES = 4 << 20 };

/* A file that has been read, whatever name it was given by. */
struct seen {
    struct seen *next;
    dev_t device;
    ino_t inode;
};

struct loader {
    struct expand_variables variables;
    struct arena *arena;
    struct diags *diags;
    struct yaml_node *tree;
    struct seen *seen;
    bool seen_stdin, failed;
};

static const char *from_environment(void *ctx, const char *name) {
    (void)ctx;
    return getenv(name);
}

static struct src_pos whole(struct loader *loader, const char *path) {
    return (struct src_pos){ .file = arena_strdup(loader->arena, str_of(path)) };
}

static void fail_memory(struct loader *loader) {
    loader->failed = true;
    diag_add(loader->diags, (struct src_pos){ .file = NULL }, "the configuration is too large for its memory");
}

static void take_text(struct loader *loader, const char *name, struct str text) {
    struct yaml_node *root = yaml_parse(name, text, loader->arena, loader->diags);

    if (root == NULL || root->kind != YAML_MAP) {
        if (root != NULL && !root->broken)
            diag_add(loader->diags, root->at, "a configuration is a map of sections such as 'inputs:' and 'outputs:'");
        loader->failed = true;
        return;
    }
    expand_tree(root, &loader->variables, loader->arena, loader->diags);
    if (loader->tree == NULL)
        loader->tree = root;
    else
        merge_trees(loader->tree, root, loader->arena, loader->diags);
}

static bool read_stdin(struct buf *out, struct err *err) {
    char chunk[16384];

    for (;;) {
        ssize_t got = read(STDIN_FILENO, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, errno, "cannot read standard input");
        if (got == 0)
            return true;
        if (!buf_append(out, chunk, (size_t)got))
            return err_set(err, ERR_LIMIT, "standard input is larger than %zu bytes", out->max);
    }
}

static void load_stdin(struct loader *loader) {
    struct buf text = BUF_INIT(FILE_MAX_BYTES);
    struct err err = ERR_INIT;

    if (loader->seen_stdin)
        return;
    loader->seen_stdin = true;
    if (read_stdin(&text, &err)) {
        take_text(loader, "<stdin>", buf_str(&text));
    } else {
        diag_add(loader->diags, whole(loader, "<stdin>"), "%s", err.text);
        loader->failed = true;
    }
    buf_release(&text);
}

static void refuse(struct loader *loader, const char *path, const char *why) {
    diag_add(loader->diags, whole(loader, path), "%s", why);
    loader->failed = true;
}

/* One file under two names, or named and in the directory: read once, or everything in it would be given twice. */
static bool is_seen(struct loader *loader, const struct stat *info) {
    struct seen *entry;

    for (entry = loader->seen; entry != NULL; entry = entry->next)
        if (entry->device == info->st_dev && entry->inode == info->st_ino)
            return true;
    entry = arena_alloc(loader->arena, sizeof *entry);
    if (entry == NULL) {
        fail_memory(loader);
        return true;
    }
    *entry = (struct seen){ loader->seen, info->st_dev, info->st_ino };
    loader->seen = entry;
    return false;
}

static void load_file(struct loader *loader, const char *path) {
    struct buf text = BUF_INIT(FILE_MAX_BYTES);
    struct err err = ERR_INIT;
    struct stat info;

    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            refuse(loader, path, "is a directory; give it with --config-directory");
            return;
        }
        if (S_ISREG(info.st_mode) && is_seen(loader, &info))
            return;
    } else if (errno == ENOENT) {
        refuse(loader, path, "no such file; `heliograf config` prints a sample to begin with");
        return;
    }
    if (fs_read_file(path, &text, &err))
        take_text(loader, path, buf_str(&text));
    else
        refuse(loader, path, err.text);
    buf_release(&text);
}

static bool is_configuration_name(const char *name) {
    struct str text = str_of(name);

    /* Not the hidden ones: editors keep half-written copies under such names. */
    return name[0] != '.' && (str_ends_with(text, STR(".yaml")) || str_ends_with(text, STR(".yml")));
}

struct names {
    const char **items;
    size_t count, cap;
};

static bool names_add(struct names *names, const char *name) {
    if (names->count == names->cap) {
        size_t cap = names->cap == 0 ? 16 : names->cap * 2;
        const char **larger = realloc(names->items, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        names->items = larger;
        names->cap = cap;
    }
    names->items[names->count++] = name;
    return true;
}

static const char *join(struct loader *loader, const char *directory, const char *name) {
    struct buf path = BUF_INIT(8192);
    const char *joined = NULL;

    if (buf_printf(&path, "%s%s%s", directory, str_ends_with(str_of(directory), STR("/")) ? "" : "/", name))
        joined = arena_strdup(loader->arena, buf_str(&path));
    buf_release(&path);
    return joined;
}

/* The paths of the directory's configuration files, unsorted, in the arena. */
static bool list_directory(struct loader *loader, const char *directory, DIR *open_directory, struct names *out) {
    struct dirent *entry;
    struct stat info;

    for (errno = 0; (entry = readdir(open_directory)) != NULL; errno = 0) {
        const char *path;
        if (!is_configuration_name(entry->d_name))
            continue;
        path = join(loader, directory, entry->d_name);
        if (path != NULL && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            continue;
        if (path == NULL || !names_add(out, path)) {
            fail_memory(loader);
            return false;
        }
    }
    return errno == 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void load_directory(struct loader *loader, const char *directory) {
    DIR *open_directory = opendir(directory);
    struct err err = ERR_INIT;
    struct names names = { .items = NULL };

    if (open_directory == NULL) {
        err_set_errno(&err, errno, "cannot open the directory");
        refuse(loader, directory, err.text);
        return;
    }
    if (!list_directory(loader, directory, open_directory, &names))
        refuse(loader, directory, "cannot list the directory");
    closedir(open_directory);
    if (names.count == 0)
        diag_warn(loader->diags, whole(loader, directory), "no *.yaml or *.yml file in this directory");
    else
        qsort(names.items, names.count, sizeof *names.items, by_name);
    for (size_t i = 0; i < names.count; i++)
        load_file(loader, names.items[i]);
    free(names.items);
}

struct yaml_node *config_load(const struct config_sources *sources, struct arena *arena, struct diags *diags) {
    struct loader loader = { .variables = { sources->lookup, sources->lookup_ctx }, .arena = arena, .diags = diags };

    if (sources->lookup == NULL)
        loader.variables.lookup = from_environment;
    for (size_t i = 0; i < sources->file_count; i++)
        if (strcmp(sources->files[i], "-") == 0)
            load_stdin(&loader);
        else
            load_file(&loader, sources->files[i]);
    for (size_t i = 0; i < sources->directory_count; i++)
        load_directory(&loader, sources->directories[i]);
    if (loader.failed)
        return NULL;
    if (loader.tree == NULL) {
        /* Nothing but empty directories: a configuration in which everything is missing. */
        loader.tree = yaml_parse("<nothing>", STR_EMPTY, arena, diags);
        if (sources->file_count == 0 && sources->directory_count == 0)
            diag_add(diags, (struct src_pos){ .file = NULL }, "no configuration is given");
    }
    return loader.tree;
}
