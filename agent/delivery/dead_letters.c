/* agent/delivery/dead_letters.c: the queue in front of the ring, the thread that empties it, and the figures. */
#include "agent/delivery/dead_letters.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/delivery/dead_letter_json.h"
#include "agent/delivery/dead_letter_ring.h"

enum {
    QUEUE_BYTES = 1 << 20,
    QUEUE_LETTERS = 4096,
    KINDS = 32, /* pairs of stage and reason that are counted apart; the last one takes all others */
    KIND_NAME = 32,
    SHOWN = 200,
};
static const int64_t sync_interval_ns = 1 * NS_PER_S, trouble_over_ns = 60 * NS_PER_S;

const struct cfg_field dead_letters_options[] = {
    { .key = "directory",
      .type = CFG_STRING,
      .offset = offsetof(struct dead_letters_options, directory),
      .fallback = "/var/lib/heliograf/dead-letters",
      .help =
          "Where data that can never be stored is kept, for `heliograf deadletter`; \"\" only counts and logs it. One agent "
          "per directory." },
    { .key = "max_bytes",
      .type = CFG_SIZE,
      .offset = offsetof(struct dead_letters_options, max_bytes),
      .fallback = "16MiB",
      .help = "Size of all dead letters together, 64KiB and up; the oldest are deleted first.",
      .min = 64 * 1024,
      .max = INT64_MAX },
    CFG_END,
};

/* A copy in one allocation: the letter's strings point behind it. */
struct queued {
    struct queued *next;
    size_t bytes;
    struct dead_letter letter;
    char text[];
};

struct kind {
    char stage[KIND_NAME], reason[KIND_NAME];
    uint64_t count;
};

/* What somebody waits for, until `done`. */
struct removal {
    const struct letter_ids *ids;
    uint64_t removed;
    struct err err;
    bool done;
};

struct dead_letters {
    bool keeps; /* there is a directory */
    pthread_t thread;
    pthread_mutex_t lock; /* for all down to `kinds` */
    pthread_cond_t changed, removal_done, settled;
    struct removal *removal; /* NULL: nobody wants anything taken out */
    struct queued *first, **last;
    size_t queued, queued_bytes;
    uint64_t put, wanted, safe; /* letters: put ever; up to where somebody waits for the disk; and up to where it has them */
    uint64_t overflow; /* letters that did not fit into the queue since the writer looked */
    bool closing;
    struct kind kinds[KINDS];

    metric_counter lost, disk_bytes;
    struct complaint trouble, overflowing, unkept;
    /* The writer's own. */
    struct ring ring;
    struct buf line;
    int64_t synced_ns, failed_ns;
};

static void copy_name(char out[KIND_NAME], struct str name) {
    size_t len = name.len < KIND_NAME - 1 ? name.len : KIND_NAME - 1;

    if (len > 0)
        memcpy(out, name.data, len);
    out[len] = '\0';
}

static void count_kind(struct dead_letters *letters, const struct dead_letter *letter) {
    char stage[KIND_NAME], reason[KIND_NAME];
    size_t i = 0;

    copy_name(stage, letter->stage);
    copy_name(reason, letter->reason);
    while (i < KINDS - 1 && letters->kinds[i].count > 0 &&
           (strcmp(letters->kinds[i].stage, stage) != 0 || strcmp(letters->kinds[i].reason, reason) != 0))
        i++;
    struct kind *kind = &letters->kinds[i];
    if (kind->count++ > 0)
        return;
    copy_name(kind->stage, i < KINDS - 1 ? str_of(stage) : STR("other"));
    copy_name(kind->reason, i < KINDS - 1 ? str_of(reason) : STR("other"));
}

static struct str copy_behind(char **at, struct str text) {
    struct str copy = { *at, text.len };

    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static size_t text_bytes(const struct dead_letter *letter) {
    return letter->stage.len + letter->input.len + letter->output.len + letter->topic.len + letter->reason.len +
           letter->detail.len + letter->data.len;
}

static struct queued *copy_letter(const struct dead_letter *letter) {
    size_t bytes = sizeof(struct queued) + text_bytes(letter);
    struct queued *copy = bytes <= QUEUE_BYTES ? malloc(bytes) : NULL;
    char *at;

    if (copy == NULL)
        return NULL;
    at = copy->text;
    copy->next = NULL;
    copy->bytes = bytes;
    copy->letter = (struct dead_letter){
        .time_ns = letter->time_ns,
        .stage = copy_behind(&at, letter->stage),
        .input = copy_behind(&at, letter->input),
        .output = copy_behind(&at, letter->output),
        .topic = copy_behind(&at, letter->topic),
        .reason = copy_behind(&at, letter->reason),
        .detail = copy_behind(&at, letter->detail),
        .data = copy_behind(&at, letter->data),
        .status = letter->status,
        .full_bytes = letter->full_bytes,
    };
    return copy;
}

/* Counts the letter as lost; the writer will complain, as logging is I/O. */
static void put(void *ctx, const struct dead_letter *letter) {
    struct dead_letters *letters = ctx;
    struct queued *copy = copy_letter(letter);

    pthread_mutex_lock(&letters->lock);
    count_kind(letters, letter);
    letters->put++;
    if (copy != NULL && letters->queued < QUEUE_LETTERS && letters->queued_bytes + copy->bytes <= QUEUE_BYTES) {
        *letters->last = copy;
        letters->last = &copy->next;
        letters->queued++;
        letters->queued_bytes += copy->bytes;
        copy = NULL;
    } else {
        letters->overflow++;
        metric_add(&letters->lost, 1);
    }
    pthread_cond_signal(&letters->changed);
    pthread_mutex_unlock(&letters->lock);
    free(copy);
}

struct dead_letter_sink dead_letters_sink(struct dead_letters *letters) {
    return (struct dead_letter_sink){ letters, put };
}

static struct str shown(struct str text) {
    return str_make(text.data, text.len < SHOWN ? text.len : SHOWN);
}

static void log_letter(struct dead_letters *letters, const struct dead_letter *letter) {
    struct str topic = shown(letter->topic), detail = shown(letter->detail);

    complain(&letters->unkept, LOG_WARN, "DEAD-LETTER",
             "topic '%.*s': %.*s: %.*s; not kept, as there is no dead_letters directory", STR_ARGS(topic),
             STR_ARGS(letter->reason), STR_ARGS(detail));
}

static void write_letter(struct dead_letters *letters, const struct dead_letter *letter) {
    struct str topic = shown(letter->topic);
    struct err err = ERR_INIT;

    buf_reset(&letters->line);
    if (!dead_letter_encode(letter, &letters->line))
        err_set(&err, ERR_LIMIT, "out of memory, or a letter of more than %d bytes", RING_LINE_MAX);
    else if (ring_write(&letters->ring, buf_str(&letters->line), &err) &&
             clock_mono_ns() - letters->failed_ns > trouble_over_ns)
        complaint_end(&letters->trouble);
    if (err.code != ERR_NONE) {
        letters->failed_ns = clock_mono_ns();
        metric_add(&letters->lost, 1);
        complain(&letters->trouble, LOG_ERROR, "DEAD-LETTERS-LOST", "a dead letter of topic '%.*s' is lost: %s",
                 STR_ARGS(topic), err.text);
    }
    atomic_store_explicit(&letters->disk_bytes, letters->ring.bytes, memory_order_relaxed);
}

static void work_off(struct dead_letters *letters, struct queued *first) {
    while (first != NULL) {
        struct queued *next = first->next;
        if (letters->keeps)
            write_letter(letters, &first->letter);
        else
            log_letter(letters, &first->letter);
        free(first);
        first = next;
    }
}

static void sync_files(struct dead_letters *letters) {
    struct err err = ERR_INIT;

    if (!ring_sync(&letters->ring, &err))
        complain(&letters->trouble, LOG_ERROR, "DEAD-LETTERS-LOST", "%s", err.text);
    letters->synced_ns = clock_mono_ns();
}

void dead_letters_sync(struct dead_letters *letters) {
    pthread_mutex_lock(&letters->lock);
    uint64_t put = letters->put;
    if (letters->wanted < put)
        letters->wanted = put;
    if (letters->safe < put)
        pthread_cond_signal(&letters->changed);
    while (letters->safe < put)
        pthread_cond_wait(&letters->settled, &letters->lock);
    pthread_mutex_unlock(&letters->lock);
}

/* All letters up to that one are on disk, or lost and counted. */
static void settle(struct dead_letters *letters, uint64_t put) {
    pthread_mutex_lock(&letters->lock);
    letters->safe = put;
    pthread_cond_broadcast(&letters->settled);
    pthread_mutex_unlock(&letters->lock);
}

static bool is_listed(void *ctx, uint64_t id) {
    const struct removal *removal = ctx;

    return letter_ids_has(removal->ids, id);
}

static void take_out(struct dead_letters *letters, struct removal *removal) {
    ring_remove(&letters->ring, is_listed, removal, &removal->removed, &removal->err);
    atomic_store_explicit(&letters->disk_bytes, letters->ring.bytes, memory_order_relaxed);
    pthread_mutex_lock(&letters->lock);
    removal->done = true;
    letters->removal = NULL;
    pthread_cond_signal(&letters->removal_done);
    pthread_mutex_unlock(&letters->lock);
}

bool dead_letters_remove(struct dead_letters *letters, const struct letter_ids *ids, uint64_t *removed, struct err *err) {
    struct removal removal = { .ids = ids, .err = ERR_INIT };

    if (letters->keeps && ids->count > 0) {
        pthread_mutex_lock(&letters->lock);
        letters->removal = &removal;
        pthread_cond_signal(&letters->changed);
        while (!removal.done)
            pthread_cond_wait(&letters->removal_done, &letters->lock);
        pthread_mutex_unlock(&letters->lock);
    }
    if (removed != NULL)
        *removed = removal.removed;
    return removal.err.code == ERR_NONE || err_set(err, removal.err.code, "%s", removal.err.text);
}

struct taken {
    struct queued *first;
    uint64_t overflow;
    uint64_t put; /* the last of them */
    struct removal *removal;
    bool wanted; /* somebody waits for the disk */
    bool closing;
};

/* Takes the whole queue; waits for letters, or for the time to sync what was written. */
static struct taken take_queue(struct dead_letters *letters) {
    struct taken taken;

    pthread_mutex_lock(&letters->lock);
    while (letters->first == NULL && letters->removal == NULL && !letters->closing && letters->overflow == 0 &&
           letters->wanted <= letters->safe) {
        struct timespec until = clock_timespec(letters->synced_ns + sync_interval_ns);
        if (!letters->ring.unsynced)
            pthread_cond_wait(&letters->changed, &letters->lock);
        else if (pthread_cond_timedwait(&letters->changed, &letters->lock, &until) != 0)
            break;
    }
    taken = (struct taken){ letters->first, letters->overflow, letters->put, letters->removal, letters->wanted > letters->safe,
                            letters->closing };
    letters->first = NULL;
    letters->last = &letters->first;
    letters->queued = letters->queued_bytes = 0;
    letters->overflow = 0;
    pthread_mutex_unlock(&letters->lock);
    return taken;
}

static void *writer_main(void *arg) {
    struct dead_letters *letters = arg;
    struct taken taken = { .closing = false };

    while (!taken.closing) {
        taken = take_queue(letters);
        if (taken.overflow > 0)
            complain(&letters->overflowing, LOG_ERROR, "DEAD-LETTERS-LOST",
                     "%" PRIu64 " dead letters are lost: they came faster than they can be written, or were too large",
                     taken.overflow);
        work_off(letters, taken.first);
        if (taken.removal != NULL)
            take_out(letters, taken.removal);
        if (letters->ring.unsynced && (taken.wanted || taken.closing || clock_mono_ns() - letters->synced_ns >= sync_interval_ns))
            sync_files(letters);
        if (!letters->ring.unsynced)
            settle(letters, taken.put);
    }
    return NULL;
}

static bool init_lock(struct dead_letters *letters) {
    pthread_condattr_t monotonic;

    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&letters->changed, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    if (!ok)
        return false;
    if (pthread_cond_init(&letters->removal_done, NULL) == 0) {
        if (pthread_cond_init(&letters->settled, NULL) == 0) {
            if (pthread_mutex_init(&letters->lock, NULL) == 0)
                return true;
            pthread_cond_destroy(&letters->settled);
        }
        pthread_cond_destroy(&letters->removal_done);
    }
    pthread_cond_destroy(&letters->changed);
    return false;
}

struct dead_letters *dead_letters_open(const struct dead_letters_options *options, struct err *err) {
    struct dead_letters *letters = calloc(1, sizeof *letters);

    if (letters == NULL || !init_lock(letters)) {
        free(letters);
        err_set(err, ERR_LIMIT, "no memory for dead letters");
        return NULL;
    }
    letters->last = &letters->first;
    letters->keeps = options->directory != NULL && options->directory[0] != '\0';
    letters->ring.fd = letters->ring.lock = -1;
    buf_init(&letters->line, RING_LINE_MAX);
    if (letters->keeps && !ring_open(&letters->ring, options->directory, options->max_bytes, err))
        goto failed;
    atomic_store(&letters->disk_bytes, letters->ring.bytes);
    int error = pthread_create(&letters->thread, NULL, writer_main, letters);
    if (error == 0)
        return letters;
    err_set_errno(err, error, "cannot start the thread for dead letters");
    ring_close(&letters->ring);
failed:
    pthread_cond_destroy(&letters->changed);
    pthread_cond_destroy(&letters->removal_done);
    pthread_cond_destroy(&letters->settled);
    pthread_mutex_destroy(&letters->lock);
    free(letters);
    return NULL;
}

void dead_letters_close(struct dead_letters *letters) {
    if (letters == NULL)
        return;
    pthread_mutex_lock(&letters->lock);
    letters->closing = true;
    pthread_cond_signal(&letters->changed);
    pthread_mutex_unlock(&letters->lock);
    pthread_join(letters->thread, NULL);
    ring_close(&letters->ring);
    buf_release(&letters->line);
    pthread_cond_destroy(&letters->changed);
    pthread_cond_destroy(&letters->removal_done);
    pthread_cond_destroy(&letters->settled);
    pthread_mutex_destroy(&letters->lock);
    free(letters);
}

static const struct metric_desc total_desc = { "dead_letters_total", "Payloads and lines that can never be stored.",
                                               "gather", METRIC_COUNTER };
static const struct metric_desc lost_desc = { "dead_letters_lost_total", "Dead letters that could not be kept.",
                                              "gather", METRIC_COUNTER };
static const struct metric_desc bytes_desc = { "dead_letters_bytes", "Size of the files with dead letters.", "gather",
                                               METRIC_GAUGE };

void dead_letters_collect(void *ctx, const struct metric_writer *writer) {
    struct dead_letters *letters = ctx;
    struct kind kinds[KINDS];

    pthread_mutex_lock(&letters->lock);
    memcpy(kinds, letters->kinds, sizeof kinds);
    pthread_mutex_unlock(&letters->lock);
    for (size_t i = 0; i < KINDS && kinds[i].count > 0; i++)
        metric_sample(writer, &total_desc, "stage", kinds[i].stage, "reason", kinds[i].reason, (double)kinds[i].count);
    metric_sample(writer, &lost_desc, NULL, NULL, NULL, NULL, (double)metric_get(&letters->lost));
    metric_sample(writer, &bytes_desc, NULL, NULL, NULL, NULL, (double)metric_get(&letters->disk_bytes));
}
