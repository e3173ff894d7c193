/* agent/delivery/replay.c: see replay.h. */
#include "agent/delivery/replay.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/delivery/inbox.h"

enum {
    JOBS_MAX = 64,    /* files at work at a time; of one at most more than the ids stands in memory */
    PUT_OFF_MAX = 32, /* files that are known to be not for this agent */
    QUICK_LOOKS = 200, /* so often a file is looked after quickly, then at leisure */
};
static const int64_t leisure_ns = 1 * NS_PER_S, hurry_ns = 20 * NS_PER_MS, goodbye_ns = 500 * NS_PER_MS;

/* A file in work. */
struct job {
    char name[INBOX_NAME_MAX];
    size_t next; /* entry, to be appended */
    bool appended;
    uint64_t last_sequence, outputs; /* what must be safe */
    struct letter_ids replayed, purged;
    unsigned looks;
};

struct replay {
    struct replay_options options;
    struct dead_letters *letters;
    struct spool *spool;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* for `stopping` */
    pthread_cond_t wake;
    bool stopping;
    metric_counter replayed, purged, waiting;
    /* The thread's own. */
    struct job jobs[JOBS_MAX];
    size_t job_count;
    char put_off[PUT_OFF_MAX][INBOX_NAME_MAX];
    size_t put_off_count;
    struct complaint unreadable, unknown_output, damaged, no_room, stuck;
};

/* Taking a file. */

static bool is_known(const struct replay *replay, const char *name) {
    for (size_t i = 0; i < replay->job_count; i++)
        if (strcmp(replay->jobs[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < replay->put_off_count; i++)
        if (strcmp(replay->put_off[i], name) == 0)
            return true;
    return false;
}

static void put_off(struct replay *replay, const char *name) {
    if (replay->put_off_count < PUT_OFF_MAX)
        snprintf(replay->put_off[replay->put_off_count++], INBOX_NAME_MAX, "%s", name);
}

/* The set of outputs by name; false: one of them is not ours, `unknown`. */
static bool outputs_of(const struct replay *replay, const struct inbox_record *record, uint64_t *set, struct str *unknown) {
    *set = 0;
    for (size_t i = 0; i < record->output_count; i++) {
        unsigned output = 0;
        while (output < replay->options.outputs && !str_eq_c(record->outputs[i], replay->options.output_names[output]))
            output++;
        *unknown = record->outputs[i];
        if (output == replay->options.outputs)
            return false;
        *set |= UINT64_C(1) << output;
    }
    return true;
}

/* Every output of every entry is ours, and no message has two records for one. ERR_MISSING: it is for somebody else. */
static bool can_be_taken(const struct replay *replay, const struct inbox_request *request, struct err *err) {
    struct str unknown;

    for (size_t i = 0; i < request->count; i++) {
        uint64_t all = 0, set;
        for (size_t j = 0; j < request->entries[i].record_count; j++) {
            if (!outputs_of(replay, &request->entries[i].records[j], &set, &unknown))
                return err_set(err, ERR_MISSING, "output '%.*s'", STR_ARGS(unknown));
            if ((all & set) != 0)
                return err_set(err, ERR_SYNTAX, "entry %zu has two records for one output", i + 1);
            all |= set;
        }
    }
    return true;
}

static void look(struct replay *replay) {
    struct inbox_names names = { 0 };
    struct err err = ERR_INIT;

    if (!inbox_list(replay->options.directory, &names, &err))
        complain(&replay->unreadable, LOG_ERROR, "INBOX-UNREADABLE", "%s; it is tried again", err.text);
    for (size_t i = 0; i < names.count && replay->job_count < JOBS_MAX; i++) {
        if (is_known(replay, names.items[i]))
            continue;
        struct job *job = &replay->jobs[replay->job_count++];
        *job = (struct job){ .appended = false };
        memcpy(job->name, names.items[i], sizeof job->name);
    }
    atomic_store_explicit(&replay->waiting, names.count, memory_order_relaxed);
    inbox_names_release(&names);
}

/* Appending a file's messages. */

static void set_aside(struct replay *replay, const char *name, const struct err *why) {
    complain(&replay->damaged, LOG_ERROR, "INBOX-DAMAGED",
             "%s/inbox/%s: %s; it is set aside as .bad; its letters stay in the ring: replay them again",
             replay->options.directory, name, why->text);
    if (!inbox_set_aside(replay->options.directory, name, NULL))
        put_off(replay, name);
}

/* A file that cannot be used. True: never; false: perhaps later. */
static bool judge_failure(struct replay *replay, const char *name, const struct err *err) {
    switch (err->code) {
    case ERR_SYNTAX:
    case ERR_UNSUPPORTED:
        set_aside(replay, name, err);
        return true;
    case ERR_MISSING:
        complain(&replay->unknown_output, LOG_WARN, "INBOX-WAITS",
                 "%s/inbox/%s is for %s, which this agent does not have: it waits for an agent with the configuration of the "
                 "replay; deleting it leaves the letters in the ring", replay->options.directory, name, err->text);
        put_off(replay, name);
        return true;
    default:
        complain(&replay->unreadable, LOG_ERROR, "INBOX-UNREADABLE", "%s; it is tried again", err->text);
        return false;
    }
}

static bool offer(struct replay *replay, struct job *job, const struct inbox_entry *entry) {
    struct spool_record records[SPOOL_OUTPUTS_MAX];
    struct str unknown;
    uint64_t sequence, outputs = 0;

    for (size_t i = 0; i < entry->record_count; i++) {
        const struct inbox_record *record = &entry->records[i];
        records[i] = (struct spool_record){ .lines = record->line_count, .topic = entry->topic, .text = record->lines };
        outputs_of(replay, record, &records[i].outputs, &unknown);
        outputs |= records[i].outputs;
    }
    if (!spool_offer(replay->spool, records, entry->record_count, &sequence))
        return false;
    metric_add(&replay->replayed, 1);
    job->last_sequence = sequence;
    job->outputs |= outputs;
    return true;
}

static bool is_stopping(struct replay *replay) {
    bool stopping;

    pthread_mutex_lock(&replay->lock);
    stopping = replay->stopping;
    pthread_mutex_unlock(&replay->lock);
    return stopping;
}

/* As far as the spool has room. An id for which there is no memory stays a letter, and goes once more. */
static void append_entries(struct replay *replay, struct job *job, const struct inbox_request *request) {
    for (; job->next < request->count; job->next++) {
        const struct inbox_entry *entry = &request->entries[job->next];
        if (!entry->purge && (is_stopping(replay) || !offer(replay, job, entry)))
            return;
        letter_ids_add(entry->purge ? &job->purged : &job->replayed, entry->id);
    }
    letter_ids_sort(&job->replayed);
    letter_ids_sort(&job->purged);
    job->appended = true;
}

/* True when the file is none for us. */
static bool append(struct replay *replay, struct job *job) {
    struct inbox_request request = { 0 };
    struct err err = ERR_INIT;
    struct arena arena;
    bool fine, gone = false;

    arena_init(&arena, 4 * (size_t)INBOX_FILE_MAX);
    fine = inbox_read(replay->options.directory, job->name, &arena, &request, &err);
    if (!fine && err.code == ERR_MISSING)
        gone = true;
    else if (fine && can_be_taken(replay, &request, &err))
        append_entries(replay, job, &request);
    else
        gone = judge_failure(replay, job->name, &err);
    arena_release(&arena);
    return gone;
}

static bool is_safe(const struct replay *replay, const struct job *job) {
    if (job->outputs == 0)
        return true;
    return replay->options.spool_on_disk ? spool_durable(replay->spool) >= job->last_sequence
                                         : spool_is_settled(replay->spool, job->outputs, job->last_sequence);
}

/* The letters go, then the file. */
static bool finish(struct replay *replay, struct job *job, struct err *err) {
    uint64_t removed;

    if (!dead_letters_remove(replay->letters, &job->replayed, NULL, err))
        return false;
    if (!dead_letters_remove(replay->letters, &job->purged, &removed, err))
        return false;
    metric_add(&replay->purged, removed);
    if (!inbox_remove(replay->options.directory, job->name, err))
        return false;
    if (job->replayed.count > 0)
        log_info("REPLAYED", "%zu dead letters are on their way to the outputs again", job->replayed.count);
    if (job->purged.count > 0)
        log_info("PURGED", "%" PRIu64 " dead letters were deleted by request", removed);
    return true;
}

/* True when the job is done, or none. */
static bool work_on(struct replay *replay, struct job *job) {
    struct err err = ERR_INIT;

    job->looks++;
    if (!job->appended && append(replay, job))
        return true;
    if (!job->appended) {
        if (job->looks > 10)
            complain(&replay->no_room, LOG_WARN, "INBOX-WAITS", "%s/inbox/%s waits until the spool has room to spare",
                     replay->options.directory, job->name);
        return false;
    }
    if (!is_safe(replay, job))
        return false;
    if (finish(replay, job, &err)) {
        complaint_end(&replay->stuck);
        return true;
    }
    job->looks = QUICK_LOOKS;
    complain(&replay->stuck, LOG_ERROR, "INBOX-STUCK",
             "replayed or purged dead letters cannot be taken out: %s; it is tried again, and what was replayed goes once more "
             "if the agent ends before", err.text);
    return false;
}

static void release_job(struct job *job) {
    letter_ids_release(&job->replayed);
    letter_ids_release(&job->purged);
}

static void work(struct replay *replay) {
    size_t left = 0;

    for (size_t i = 0; i < replay->job_count; i++) {
        struct job *job = &replay->jobs[i];
        if (work_on(replay, job))
            release_job(job);
        else
            replay->jobs[left++] = *job;
    }
    replay->job_count = left;
}

/* Fast as long as a disk is all that it waits for. */
static int64_t pause_ns(const struct replay *replay) {
    for (size_t i = 0; i < replay->job_count; i++)
        if (replay->jobs[i].appended && replay->jobs[i].looks < QUICK_LOOKS)
            return hurry_ns;
    return leisure_ns;
}

static bool wait_for_stop(struct replay *replay, int64_t ns) {
    struct timespec until = clock_timespec(clock_mono_ns() + ns);
    bool stopping;

    pthread_mutex_lock(&replay->lock);
    while (!replay->stopping && pthread_cond_timedwait(&replay->wake, &replay->lock, &until) == 0)
        continue;
    stopping = replay->stopping;
    pthread_mutex_unlock(&replay->lock);
    return stopping;
}

/* What is appended is safe in a moment, most likely: then it need not go once more at the next start. */
static void say_goodbye(struct replay *replay) {
    int64_t until = clock_mono_ns() + goodbye_ns;
    bool some = true;

    while (some && replay->options.spool_on_disk && clock_mono_ns() < until) {
        work(replay);
        some = false;
        for (size_t i = 0; i < replay->job_count; i++)
            some = some || replay->jobs[i].appended;
        if (some)
            nanosleep(&(struct timespec){ 0, 5 * NS_PER_MS }, NULL);
    }
    for (size_t i = 0; i < replay->job_count; i++)
        release_job(&replay->jobs[i]);
    replay->job_count = 0;
}

static void *replay_main(void *arg) {
    struct replay *replay = arg;

    do {
        look(replay);
        work(replay);
    } while (!wait_for_stop(replay, pause_ns(replay)));
    say_goodbye(replay);
    return NULL;
}

/* Birth and death. */

static bool init_lock(struct replay *replay) {
    pthread_condattr_t monotonic;

    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 && pthread_cond_init(&replay->wake, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    if (ok && pthread_mutex_init(&replay->lock, NULL) == 0)
        return true;
    if (ok)
        pthread_cond_destroy(&replay->wake);
    return false;
}

struct replay *replay_new(const struct replay_options *options, struct dead_letters *letters, struct spool *spool) {
    struct replay *replay = calloc(1, sizeof *replay);

    if (replay == NULL || !init_lock(replay)) {
        free(replay);
        return NULL;
    }
    replay->options = *options;
    replay->letters = letters;
    replay->spool = spool;
    return replay;
}

/* The thread takes no signals: those are for the main thread. */
bool replay_start(struct replay *replay, struct err *err) {
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&replay->thread, NULL, replay_main, replay);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    replay->started = error == 0;
    return error == 0 || err_set_errno(err, error, "cannot start the thread for the inbox of dead letters");
}

void replay_stop(struct replay *replay) {
    if (replay == NULL || !replay->started)
        return;
    pthread_mutex_lock(&replay->lock);
    replay->stopping = true;
    pthread_cond_signal(&replay->wake);
    pthread_mutex_unlock(&replay->lock);
    pthread_join(replay->thread, NULL);
    replay->started = false;
}

void replay_free(struct replay *replay) {
    if (replay == NULL)
        return;
    replay_stop(replay);
    pthread_cond_destroy(&replay->wake);
    pthread_mutex_destroy(&replay->lock);
    free(replay);
}

static const struct metric_desc replayed_desc = { "dead_letters_replayed_total",
                                                  "Dead letters that went to the outputs again; received counts them too.",
                                                  "gather", METRIC_COUNTER };
static const struct metric_desc purged_desc = { "dead_letters_purged_total", "Dead letters that were deleted by request.",
                                                "gather", METRIC_COUNTER };
static const struct metric_desc waiting_desc = { "dead_letters_inbox_files", "Files in the inbox of dead letters.", "gather",
                                                 METRIC_GAUGE };

void replay_collect(void *ctx, const struct metric_writer *writer) {
    const struct replay *replay = ctx;

    if (replay == NULL)
        return;
    metric_sample(writer, &replayed_desc, NULL, NULL, NULL, NULL, (double)metric_get(&replay->replayed));
    metric_sample(writer, &purged_desc, NULL, NULL, NULL, NULL, (double)metric_get(&replay->purged));
    metric_sample(writer, &waiting_desc, NULL, NULL, NULL, NULL, (double)metric_get(&replay->waiting));
}
