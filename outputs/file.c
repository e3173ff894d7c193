/*
 * outputs/file.c: line protocol into files and to stdout. A write that ends early goes on where it stopped when the
 * same bytes come again, so neither half a line nor a line twice is left behind; if other bytes come first, the half
 * line is finished before them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "outputs/output.h"
#include "outputs/rotate.h"

enum { PIPE_CHUNK = 4096, POLL_MS = 100, LINE_MAX_BYTES = 16 * 1024 * 1024 };

struct file_output {
    struct cfg_strings files;
    int64_t rotation_interval_ns, rotation_max_archives;
    uint64_t rotation_max_size;
    int data_format;
    bool sync;
    char *ignored;
};

/* One of `files`. */
struct sink {
    const char *path;
    bool is_stdout, regular;
    int fd; /* -1: not open */
    dev_t device;
    ino_t inode;
    uint64_t size;
    int64_t opened_ns; /* real */
    /* A body of which only the first `done` bytes are written, or which other files have not got yet. */
    uint64_t body_hash;
    size_t body_len, done;
    struct buf half; /* what its last line still lacks */
};

struct file_connection {
    const struct file_output *output;
    const atomic_bool *cancel;
    struct sink *sinks;
};

static const char *const format_names[] = { "influx", NULL };

#define FIELD(member) offsetof(struct file_output, member)

static const struct cfg_field options[] = {
    { .key = "files", .type = CFG_STRINGS, .offset = FIELD(files), .fallback = "[stdout]",
      .help = "Files to append to; stdout is standard output." },
    { .key = "data_format", .type = CFG_ENUM, .offset = FIELD(data_format), .fallback = "influx",
      .names = format_names, .help = "influx: line protocol." },
    { .key = "rotation_interval", .type = CFG_DURATION, .offset = FIELD(rotation_interval_ns), .fallback = "0",
      .help = "Age at which a file is archived; 0: never." },
    { .key = "rotation_max_size", .type = CFG_SIZE, .offset = FIELD(rotation_max_size), .fallback = "0",
      .help = "Size at which a file is archived; 0: never." },
    { .key = "rotation_max_archives", .type = CFG_INTEGER, .offset = FIELD(rotation_max_archives), .fallback = "5",
      .min = -1, .max = 100000, .help = "Archives to keep of each file; -1: all." },
    { .key = "sync", .type = CFG_BOOL, .offset = FIELD(sync), .fallback = "true",
      .help = "Wait until a batch is on disk before it counts as stored." },
    { .key = "use_batch_format", .type = CFG_STRING, .offset = FIELD(ignored), .flags = CFG_IGNORED,
      .help = "line protocol is the same either way" },
    { .key = "compression_algorithm", .type = CFG_STRING, .offset = FIELD(ignored), .flags = CFG_IGNORED,
      .help = "files are written as text" },
    CFG_END,
};

static bool file_init(void *self, struct err *err) {
    const struct file_output *output = self;

    if (output->files.count == 0)
        return err_set(err, ERR_MISSING, "files is empty");
    for (size_t i = 0; i < output->files.count; i++)
        if (output->files.items[i][0] == '\0')
            return err_set(err, ERR_MISSING, "files: number %zu is empty", i + 1);
    return true;
}

/* ---- one file ---- */

static void sink_close(struct sink *sink) {
    if (sink->fd >= 0 && !sink->is_stdout)
        close(sink->fd);
    sink->fd = -1;
}

/* A crash may have left half a line; what follows must not become part of it. */
static bool ends_in_half_a_line(const char *path, off_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char last = '\n';

    if (fd < 0)
        return false;
    bool torn = pread(fd, &last, 1, size - 1) == 1 && last != '\n';
    close(fd);
    return torn;
}

static bool sink_open(struct sink *sink, struct err *err) {
    struct stat info;

    /* Not blocking, for the sake of a FIFO without a reader. */
    sink->fd = sink->is_stdout ? STDOUT_FILENO
                               : open(sink->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    if (sink->fd < 0 || fstat(sink->fd, &info) != 0) {
        err_set_errno(err, errno, "cannot open %s", sink->path);
        sink_close(sink);
        return false;
    }
    sink->regular = S_ISREG(info.st_mode);
    sink->device = info.st_dev;
    sink->inode = info.st_ino;
    sink->size = (uint64_t)info.st_size;
    sink->opened_ns = clock_real_ns();
    if (sink->regular && !sink->is_stdout && info.st_size > 0 && ends_in_half_a_line(sink->path, info.st_size))
        buf_append_char(&sink->half, '\n');
    return true;
}

static bool is_cancelled(const struct file_connection *connection) {
    return connection->cancel != NULL && atomic_load_explicit(connection->cancel, memory_order_relaxed);
}

/* A reader of a pipe may take its time: waits for room, and looks at `cancel` ten times a second. */
static bool wait_for_room(const struct file_connection *connection, const struct sink *sink, struct err *err) {
    struct pollfd room = { .fd = sink->fd, .events = POLLOUT };

    for (;;) {
        if (is_cancelled(connection))
            return err_set(err, ERR_FULL, "%s: its reader does not take data", sink->path);
        int ready = poll(&room, 1, POLL_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR && errno != EAGAIN))
            return true; /* an error shows in the write */
    }
}

/* Writes as much as it can; `*done` grows by it. */
static bool write_bytes(const struct file_connection *connection, struct sink *sink, struct str bytes, size_t *done,
                        struct err *err) {
    while (*done < bytes.len) {
        size_t chunk = bytes.len - *done;
        if (!sink->regular) {
            if (!wait_for_room(connection, sink, err))
                return false;
            chunk = chunk < PIPE_CHUNK ? chunk : PIPE_CHUNK;
        }
        ssize_t written = write(sink->fd, bytes.data + *done, chunk);
        if (written < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (written < 0)
            return err_set_errno(err, errno, "cannot write to %s", sink->path);
        *done += (size_t)written;
        sink->size += (uint64_t)written;
    }
    return true;
}

static bool finish_half_line(const struct file_connection *connection, struct sink *sink, struct err *err) {
    size_t done = 0;
    bool ok = write_bytes(connection, sink, buf_str(&sink->half), &done, err);

    if (done > 0) {
        memmove(sink->half.data, sink->half.data + done, sink->half.len - done);
        sink->half.len -= done;
    }
    return ok;
}

/* Somebody else (logrotate) may have taken the file away. */
static bool was_replaced(const struct sink *sink) {
    struct stat info;

    if (sink->is_stdout || !sink->regular)
        return false;
    return stat(sink->path, &info) != 0 || info.st_dev != sink->device || info.st_ino != sink->inode;
}

static bool is_due(const struct file_output *output, const struct sink *sink, size_t more) {
    if (sink->is_stdout || !sink->regular || sink->size == 0)
        return false;
    if (output->rotation_max_size > 0 && sink->size + more > output->rotation_max_size)
        return true;
    return output->rotation_interval_ns > 0 && clock_real_ns() - sink->opened_ns >= output->rotation_interval_ns;
}

static size_t line_start(struct str body, size_t at) {
    while (at > 0 && body.data[at - 1] != '\n')
        at--;
    return at;
}

/* Makes the file ready for `body` from `*at` on; a line that was begun in a file that is gone begins anew. */
static bool prepare(const struct file_connection *connection, struct sink *sink, struct str body, size_t *at,
                    struct err *err) {
    const struct file_output *output = connection->output;

    if (sink->fd >= 0 && was_replaced(sink))
        sink_close(sink);
    if (sink->fd >= 0 && *at == 0 && sink->half.len == 0 && is_due(output, sink, body.len)) {
        if (!rotate_file(sink->path, clock_real_ns(), err))
            return false;
        sink_close(sink);
        rotate_purge(sink->path, output->rotation_max_archives, NULL); /* too many archives lose no data */
    }
    if (sink->fd >= 0)
        return true;
    buf_reset(&sink->half);
    *at = line_start(body, *at);
    return sink_open(sink, err);
}

static bool same_body(const struct sink *sink, struct str body) {
    return sink->body_len == body.len && sink->body_len > 0 && sink->body_hash == str_hash(body);
}

static void remember(struct sink *sink, struct str body, size_t done) {
    const char *end = done < body.len ? memchr(body.data + done, '\n', body.len - done) : NULL;

    sink->body_hash = str_hash(body);
    sink->body_len = body.len;
    sink->done = done;
    buf_reset(&sink->half);
    if (end != NULL && done > line_start(body, done))
        if (!buf_append(&sink->half, body.data + done, (size_t)(end - body.data) - done + 1))
            buf_append_char(&sink->half, '\n'); /* too long to keep: it stays half, as a line of its own */
}

static bool sink_write(const struct file_connection *connection, struct sink *sink, struct str body, struct err *err) {
    bool again = same_body(sink, body), ok;
    size_t at = again ? sink->done : 0;

    if (!prepare(connection, sink, body, &at, err))
        return false;
    if (at == 0 || at == line_start(body, at)) {
        if (!finish_half_line(connection, sink, err))
            return false;
    } else {
        buf_reset(&sink->half); /* its rest is what comes now */
    }
    ok = write_bytes(connection, sink, body, &at, err);
    if (ok && connection->output->sync && sink->regular && fdatasync(sink->fd) != 0) {
        ok = err_set_errno(err, errno, "cannot sync %s", sink->path);
        at = 0; /* the system may have thrown the pages away: all of it again, perhaps twice rather than never */
    }
    remember(sink, body, at);
    return ok;
}

/* ---- the output ---- */

static void file_close(void *self, void *connection) {
    const struct file_output *output = self;
    struct file_connection *given = connection;

    if (given == NULL)
        return;
    for (size_t i = 0; i < output->files.count; i++) {
        sink_close(&given->sinks[i]);
        buf_release(&given->sinks[i].half);
    }
    free(given->sinks);
    free(given);
}

static void *file_open(void *self, const atomic_bool *cancel, struct err *err) {
    const struct file_output *output = self;
    struct file_connection *connection = calloc(1, sizeof *connection);

    if (connection != NULL)
        connection->sinks = calloc(output->files.count, sizeof *connection->sinks);
    if (connection == NULL || connection->sinks == NULL) {
        free(connection);
        err_set(err, ERR_FULL, "out of memory");
        return NULL;
    }
    connection->output = output;
    connection->cancel = cancel;
    for (size_t i = 0; i < output->files.count; i++) {
        struct sink *sink = &connection->sinks[i];
        sink->path = output->files.items[i];
        sink->is_stdout = strcmp(sink->path, "stdout") == 0;
        sink->fd = -1;
        buf_init(&sink->half, LINE_MAX_BYTES);
    }
    return connection;
}

static void file_send(void *self, void *connection, const struct request *request, struct reply *reply) {
    const struct file_output *output = self;
    struct file_connection *given = connection;
    int64_t started_ns = clock_mono_ns();
    struct err err = ERR_INIT;
    bool all = true;

    reply_reset(reply);
    for (size_t i = 0; i < output->files.count; i++)
        if (!sink_write(given, &given->sinks[i], request->body, &err))
            all = false; /* the other files still get theirs */
    /* Everywhere: should the same bytes come again, they are a new batch. */
    for (size_t i = 0; all && i < output->files.count; i++)
        given->sinks[i].body_len = 0;
    reply->outcome = all ? DELIVERED : RETRY_LATER;
    reply->retry = RETRY_BACKOFF;
    reply->wire_bytes = request->body.len;
    reply->duration_ns = clock_mono_ns() - started_ns;
    reply_words(reply->reason, sizeof reply->reason, str_of(err.text));
}

static bool file_probe(void *self, void *connection, struct err *err) {
    const struct file_output *output = self;
    struct file_connection *given = connection;

    for (size_t i = 0; i < output->files.count; i++)
        if (given->sinks[i].fd < 0 && !sink_open(&given->sinks[i], err))
            return false;
    return true;
}

static void file_describe(void *self, struct buf *out) {
    const struct file_output *output = self;

    for (size_t i = 0; i < output->files.count; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", output->files.items[i]);
}

const struct output_type output_file = {
    .name = "file",
    .summary = "line protocol appended to files, or printed on stdout",
    .state_size = sizeof(struct file_output),
    .options = options,
    .init = file_init,
    .open = file_open,
    .send = file_send,
    .close = file_close,
    .probe = file_probe,
    .describe = file_describe,
};
