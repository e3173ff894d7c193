/* agent/broker/acl_file.c: an ACL file in Mosquitto's format. Every line that is wrong is named, not the first one alone. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fs.h"
#include "agent/base/topic_filter.h"
#include "agent/broker/acl_build.h"

enum { USER_MAX = 65535, SHOWN_MAX = 60 };

struct reader {
    struct acl *acl;
    struct diags *diags;
    struct src_pos at;    /* of the line that is read */
    const char *line;     /* its first byte */
    struct str user;      /* of the last `user` line; data NULL: there was none yet */
    bool no_memory;
};

static struct src_pos at_word(const struct reader *reader, struct str word) {
    struct src_pos at = reader->at;

    at.column = (unsigned)(word.data - reader->line) + 1;
    return at;
}

static int shown(struct str text) {
    return text.len < SHOWN_MAX ? (int)text.len : SHOWN_MAX;
}

/* The first word, and what stands behind it without the blanks around. */
static struct str next_word(struct str *rest) {
    struct str word = str_trim(*rest);
    size_t len = 0;

    while (len < word.len && word.data[len] != ' ' && word.data[len] != '\t')
        len++;
    *rest = str_trim(str_make(word.data + len, word.len - len));
    return str_make(word.data, len);
}

static const struct access {
    const char *name;
    uint8_t grants, denies;
} accesses[] = {
    { "read", ACL_READ, 0 },
    { "write", ACL_WRITE, 0 },
    { "readwrite", ACL_READ | ACL_WRITE, 0 },
    { "deny", 0, ACL_READ | ACL_WRITE },
};

static const struct access *access_of(struct str word) {
    for (size_t i = 0; i < sizeof accesses / sizeof *accesses; i++)
        if (str_eq_c(word, accesses[i].name))
            return &accesses[i];
    return NULL;
}

/* What is valid, and most probably not meant. */
static void warn_of(const struct reader *reader, struct str filter, bool pattern, bool with_access) {
    if (!with_access && access_of(filter) != NULL)
        diag_warn(reader->diags, at_word(reader, filter), "this allows the topic that is named '%.*s'; is the topic missing?", shown(filter),
                  filter.data);
    if (str_starts_with(filter, STR("$share/")))
        diag_warn(reader->diags, at_word(reader, filter), "no topic begins with $share/; write the filter alone, without $share/group/");
    for (size_t i = 0; !pattern && i < filter.len; i++)
        if (acl_placeholder(filter, i) != 0) {
            diag_warn(reader->diags, at_word(reader, filter), "%%%c stands for itself here; `pattern` puts the name in", acl_placeholder(filter, i));
            return;
        }
}

static void read_topic(struct reader *reader, struct str rest, bool pattern) {
    const struct access *access = &accesses[2];
    struct str filter = rest, word = next_word(&rest);
    struct err err = ERR_INIT;
    enum acl_whom whom = pattern ? ACL_EVERYBODY : reader->user.data != NULL ? ACL_USER : ACL_ANONYMOUS;
    bool with_access = rest.len > 0;

    if (word.len == 0) {
        diag_add(reader->diags, reader->at, "the topic is missing: topic [read|write|readwrite|deny] TOPIC");
        return;
    }
    if (with_access) {
        access = access_of(word);
        filter = rest;
    }
    if (access == NULL) {
        diag_add(reader->diags, at_word(reader, word),
                 "unknown access '%.*s'; there is read, write, readwrite and deny, and a topic with a blank needs one of them", shown(word),
                 word.data);
        return;
    }
    if (!topic_filter_valid(filter, &err)) {
        diag_add(reader->diags, at_word(reader, filter), "%s%s", err.text,
                 memchr(filter.data, ' ', filter.len) != NULL ? "; a comment has a line of its own" : "");
        return;
    }
    warn_of(reader, filter, pattern, with_access);
    if (!acl_add(reader->acl, whom, reader->user, filter, pattern, access->grants, access->denies))
        reader->no_memory = true;
}

static void read_user(struct reader *reader, struct str user) {
    if (user.len == 0)
        diag_add(reader->diags, reader->at, "the user name is missing: user NAME");
    else if (user.len > USER_MAX || !str_is_utf8(user) || memchr(user.data, '\0', user.len) != NULL)
        diag_add(reader->diags, at_word(reader, user), "a user name must be UTF-8 without NUL, and has at most %d bytes", USER_MAX);
    else
        reader->user = user;
}

static void complain_of_word(const struct reader *reader, struct str word) {
    static const char *const known[] = { "topic", "pattern", "user" };
    char name[SHOWN_MAX + 1];
    const char *nearest;

    snprintf(name, sizeof name, "%.*s", shown(word), word.data);
    nearest = cfg_nearest(name, known, sizeof known / sizeof *known);
    if (nearest != NULL)
        diag_add(reader->diags, at_word(reader, word), "unknown word '%s'; did you mean '%s'?", name, nearest);
    else
        diag_add(reader->diags, at_word(reader, word), "unknown word '%s'; a line begins with topic, pattern, user or #", name);
}

static void read_line(struct reader *reader, struct str line) {
    struct str rest = str_trim(line), word;

    reader->line = line.data;
    if (rest.len == 0 || rest.data[0] == '#')
        return;
    word = next_word(&rest);
    if (str_eq_c(word, "user")) {
        read_user(reader, rest);
    } else if (str_eq_c(word, "topic") || str_eq_c(word, "pattern")) {
        read_topic(reader, rest, word.data[0] == 'p');
    } else {
        complain_of_word(reader, word);
    }
}

struct acl *acl_parse(const char *name, struct str text, struct diags *diags) {
    struct reader reader = { .acl = acl_new(), .diags = diags, .at = { .file = name, .line = 0, .column = 1 } };
    size_t errors = diags->errors;

    if (str_starts_with(text, STR("\xEF\xBB\xBF"))) /* an editor's byte order mark */
        text = str_make(text.data + 3, text.len - 3);
    reader.no_memory = reader.acl == NULL;
    while (text.data != NULL && !reader.no_memory) {
        reader.at.line++;
        read_line(&reader, str_split(&text, '\n'));
    }
    if (reader.no_memory)
        diag_add(diags, (struct src_pos){ .file = name }, "no memory for the rules");
    if (diags->errors > errors) {
        acl_unref(reader.acl);
        return NULL;
    }
    acl_finish(reader.acl);
    return reader.acl;
}

struct acl *acl_load(const char *path, struct diags *diags) {
    struct buf text = BUF_INIT(ACL_FILE_MAX);
    struct src_pos at = { .file = path };
    struct acl *acl = NULL;
    struct err err = ERR_INIT;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        err_set_errno(&err, errno, "cannot open it");
    } else if (fs_read_fd(fd, path, &text, &err)) {
        if (fstat(fd, &info) == 0 && (info.st_mode & S_IWOTH) != 0)
            diag_warn(diags, at, "everybody on this machine may change it: chmod o-w %s", path);
        acl = acl_parse(path, buf_str(&text), diags);
    }
    if (err.code != ERR_NONE)
        diag_add(diags, at, "%s", err.text);
    if (fd >= 0)
        close(fd);
    buf_release(&text);
    return acl;
}
