/*
 * agent/spool/commit.c: the commit thread: it makes durable what was appended, in groups, and tells everybody. In memory
 * that is a number and a wake-up per group; on disk it is the only thread that writes. It never takes anybody else's lock.
 */
#include "agent/spool/spool_internal.h"

enum {
    GROUP_WAIT_US = 500,       /* in memory: what one wake-up gathers: a window of 20 still makes 40,000 messages/s */
    EAGER_BYTES = 1024 * 1024, /* on disk: so much is written at once, whoever waits */
    UNSYNCED_MAX = 16 * 1024 * 1024,
};
static const int64_t lazy_ns = NS_PER_S; /* what nobody waits for is written that late: often the database has it by then */
static const int64_t checkpoint_every_ns = NS_PER_S, expire_every_ns = 10 * NS_PER_S;

void commit_wake(struct spool *spool) {
    if (spool->committer_waiting)
        pthread_cond_signal(&spool->commit);
}

/* Under `block` acknowledgements stop while an eighth or less of the limit is free: that eighth takes what is in flight. */
static bool is_holding_back(const struct spool *spool) {
    return spool->options.when_full == SPOOL_BLOCK && !spool->closing &&
           spool->bytes > spool->limit - spool->limit / 8;
}

void commit_make_safe(struct spool *spool) {
    if (spool->make_safe == NULL)
        return;
    pthread_mutex_unlock(&spool->lock);
    spool->make_safe(spool->make_safe_ctx);
    pthread_mutex_lock(&spool->lock);
}

static void publish(struct spool *spool) {
    uint64_t durable = spool->options.sync == SPOOL_INTERVAL ? spool->written : spool->synced;

    if (durable <= spool->durable || is_holding_back(spool))
        return;
    if (spool->resting > spool->durable)
        commit_make_safe(spool);
    spool->durable = durable;
    pthread_mutex_unlock(&spool->lock);
    if (spool->notify != NULL)
        spool->notify(spool->notify_ctx, durable);
    pthread_mutex_lock(&spool->lock);
}

/* In memory. */

static void commit_in_memory(struct spool *spool) {
    if (spool->wanted <= spool->durable || is_holding_back(spool))
        return;
    if (!spool->closing) {
        struct timespec pause = { 0, GROUP_WAIT_US * 1000L };
        pthread_mutex_unlock(&spool->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&spool->lock);
    }
    spool->written = spool->synced = spool->appended;
    publish(spool);
}

/* On disk. */

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* When the next write is due: INT64_MAX when there is nothing to write. */
static int64_t write_due_ns(const struct spool *spool) {
    int64_t due_ns = INT64_MAX;

    if (spool->appended == spool->written)
        return INT64_MAX;
    if (spool->degraded)
        return spool->stopping ? 0 : spool->committer.retry_ns;
    if (spool->closing || spool->unwritten_bytes >= EAGER_BYTES)
        return 0;
    if (spool->wanted > spool->written)
        due_ns = spool->first_wanted_ns + spool->options.commit_delay_ns;
    return earlier(due_ns, spool->first_unwritten_ns + lazy_ns);
}

static int64_t sync_due_ns(const struct spool *spool) {
    const struct committer *committer = &spool->committer;

    if (committer->unsynced_bytes == 0)
        return INT64_MAX;
    if (spool->stopping || committer->unsynced_bytes >= UNSYNCED_MAX)
        return 0;
    return committer->synced_ns + spool->options.interval_ns;
}

static int64_t checkpoint_due_ns(const struct spool *spool) {
    if (spool->settled_batches == spool->committer.checkpointed_batches && !spool->committer.checkpoint_failed)
        return INT64_MAX;
    return spool->committer.checkpoint_ns + checkpoint_every_ns;
}

static int64_t retire_due_ns(const struct spool *spool) {
    bool failing = spool->committer.checkpoint_failed || spool->committer.retire_failed;
    int64_t due_ns = INT64_MAX, retry_ns = spool->committer.checkpoint_ns + checkpoint_every_ns;

    for (const struct segment *segment = spool->retired; segment != NULL; segment = segment->next)
        if (segment->pins == 0)
            due_ns = earlier(due_ns, disk_removable_ns(spool, segment));
    return failing && due_ns < retry_ns ? retry_ns : due_ns;
}

static int64_t expire_due_ns(const struct spool *spool) {
    return spool->options.max_age_ns > 0 ? spool->committer.aged_ns + expire_every_ns : INT64_MAX;
}

static int64_t next_due_ns(const struct spool *spool) {
    if (spool->thin_wanted)
        return 0;
    int64_t due_ns = earlier(earlier(write_due_ns(spool), sync_due_ns(spool)), checkpoint_due_ns(spool));
    return earlier(earlier(due_ns, retire_due_ns(spool)), expire_due_ns(spool));
}

static void work_on_disk(struct spool *spool) {
    int64_t now_ns = clock_mono_ns();

    disk_skip_settled(spool);
    if (write_due_ns(spool) <= now_ns) {
        disk_commit(spool, spool->options.sync == SPOOL_COMMIT);
        log_release(spool);
    }
    publish(spool);
    if (sync_due_ns(spool) <= now_ns) {
        disk_sync(spool);
        log_evict(spool);
    }
    if (expire_due_ns(spool) <= now_ns) {
        spool->committer.aged_ns = now_ns;
        log_expire(spool);
    }
    if (spool->thin_wanted)
        thin_oldest(spool);
    if (retire_due_ns(spool) <= now_ns)
        disk_retire(spool, false);
    if (checkpoint_due_ns(spool) <= now_ns)
        disk_checkpoint(spool, false);
}

static void wait_for_work(struct spool *spool, int64_t due_ns) {
    spool->committer_waiting = true;
    if (due_ns == INT64_MAX) {
        pthread_cond_wait(&spool->commit, &spool->lock);
    } else {
        struct timespec until = clock_timespec(due_ns);
        pthread_cond_timedwait(&spool->commit, &spool->lock, &until);
    }
    spool->committer_waiting = false;
}

/* The last word: everything on disk, as far as the disk takes it, and how far everybody has read. */
static void finish_on_disk(struct spool *spool) {
    disk_skip_settled(spool);
    disk_commit(spool, true);
    disk_sync(spool);
    publish(spool);
    log_release(spool);
    disk_retire(spool, false);
}

static void run_on_disk(struct spool *spool) {
    while (!spool->stopping) {
        work_on_disk(spool);
        if (spool->appended == spool->written) { /* so that the next append wakes us */
            spool->unwritten_bytes = 0;
            spool->first_wanted_ns = 0;
        }
        int64_t due_ns = next_due_ns(spool);
        if (!spool->stopping && due_ns > clock_mono_ns())
            wait_for_work(spool, due_ns);
    }
    finish_on_disk(spool);
}

static void run_in_memory(struct spool *spool) {
    while (!spool->stopping || spool->wanted > spool->durable) {
        commit_in_memory(spool);
        if (spool->options.max_age_ns > 0 && clock_mono_ns() - spool->committer.aged_ns >= expire_every_ns) {
            spool->committer.aged_ns = clock_mono_ns();
            log_expire(spool);
        }
        if (spool->thin_wanted)
            thin_oldest(spool);
        if ((spool->wanted <= spool->durable || is_holding_back(spool)) && !spool->stopping && !spool->thin_wanted)
            wait_for_work(spool, expire_due_ns(spool));
    }
}

void *commit_thread(void *arg) {
    struct spool *spool = arg;

    pthread_mutex_lock(&spool->lock);
    if (spool->disk)
        run_on_disk(spool);
    else
        run_in_memory(spool);
    pthread_mutex_unlock(&spool->lock);
    return NULL;
}
