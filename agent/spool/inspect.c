/* agent/spool/inspect.c: see inspect.h. */
#include "agent/spool/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "agent/base/fs.h"
#include "agent/spool/inspect_internal.h"

enum { LOOKS = 5 }; /* until damage beside an agent is believed */

/* File operations that change nothing, over those of the system. */

static int no_change(void) {
    return -EROFS;
}

static int only_open(void *ctx, int directory, const char *name, int flags) {
    (void)ctx;
    if ((flags & O_CREAT) != 0)
        return no_change();
    return file_ops_system.open(file_ops_system.ctx, directory, name, O_RDONLY);
}

static ssize_t no_pwrite(void *ctx, int file, const void *bytes, size_t len, uint64_t offset) {
    (void)ctx, (void)file, (void)bytes, (void)len, (void)offset;
    return no_change();
}

static int no_resize(void *ctx, int file, uint64_t size) {
    (void)ctx, (void)file, (void)size;
    return no_change();
}

static int no_rename(void *ctx, int directory, const char *from, const char *to) {
    (void)ctx, (void)directory, (void)from, (void)to;
    return no_change();
}

static int no_unlink(void *ctx, int directory, const char *name) {
    (void)ctx, (void)directory, (void)name;
    return no_change();
}

static int no_lock(void *ctx, int directory) {
    (void)ctx, (void)directory;
    return no_change();
}

static struct file_ops reading_ops(void) {
    struct file_ops ops = file_ops_system;

    ops.open = only_open;
    ops.pwrite = no_pwrite;
    ops.allocate = no_resize;
    ops.truncate = no_resize;
    ops.rename = no_rename;
    ops.unlink = no_unlink;
    ops.lock = no_lock;
    ops.sync_directory = no_lock;
    return ops;
}

/* Looking. */

static bool refuse(struct err *err, const char *directory, int error) {
    if (error == EACCES || error == EPERM)
        return err_set(err, ERR_IO, "may not read %s: run this as the user who runs heliograf, or as root", directory);
    return err_set_errno(err, error, "cannot read the spool's directory %s", directory);
}

bool look_read(struct looker *looker, const char *directory, const struct recovery_watch *watch, struct err *err) {
    struct spool *spool = calloc(1, sizeof *spool);
    struct store *store;

    looker->spool = spool;
    looker->ops = reading_ops();
    if (spool == NULL)
        return err_set(err, ERR_LIMIT, "no memory to read %s", directory);
    store = &spool->store;
    spool->disk = true;
    spool->options.file_ops = &looker->ops;
    spool->committer.file = -1;
    *store = (struct store){ .ops = &looker->ops, .checkpoint = -1, .next_number = 1 };
    snprintf(store->path, sizeof store->path, "%s", directory);
    store->directory = store->ops->open_directory(store->ops->ctx, directory);
    if (store->directory < 0)
        return refuse(err, directory, -store->directory);
    return recover(spool, watch, err);
}

void look_end(struct looker *looker) {
    if (looker->spool == NULL)
        return;
    store_close(&looker->spool->store);
    log_free_all(looker->spool);
    spool_forget_origins(looker->spool);
    free(looker->spool);
    looker->spool = NULL;
}

/* Closed, cut between characters, and fit for a terminal: a directory may come from anywhere. */
static void copy_name(char name[OUTPUT_NAME_MAX + 1], const struct format_output *output) {
    size_t len = strnlen(output->name, OUTPUT_NAME_MAX);

    memcpy(name, output->name, len);
    for (int cut = 0; cut < 3 && len > 0 && !str_is_utf8(str_make(name, len)); cut++)
        len--;
    name[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            name[i] = '?';
}

int look_output(const struct spool *spool, const char *name, struct err *err) {
    const struct store *store = &spool->store;
    struct buf known = BUF_INIT(160);
    uint64_t hash = format_hash(name);
    char one[OUTPUT_NAME_MAX + 1];

    for (unsigned i = 0; i < store->outputs; i++)
        if (store->names[i].hash == hash)
            return (int)i;
    for (unsigned i = 0; i < store->outputs; i++) {
        copy_name(one, &store->names[i]);
        buf_printf(&known, "%s%s", i > 0 ? ", " : "", one);
    }
    err_set(err, ERR_MISSING, "%s has nothing for an output '%s'; it knows: %s", store->path, name,
            store->outputs > 0 ? buf_cstr(&known) : "none");
    buf_release(&known);
    return -1;
}

const struct record_head *look_next(struct look_walk *walk, uint64_t seen) {
    const char *body = (const char *)(walk->frame + 1);

    if (walk->offset == 0)
        walk->sequence = walk->frame->first_sequence - 1;
    while (walk->offset < walk->frame->body_len) {
        const struct record_head *head = (const struct record_head *)(const void *)(body + walk->offset);
        walk->offset += head->size;
        walk->sequence += 1 + record_gap(head);
        if (walk->sequence > seen)
            return head;
    }
    return NULL;
}

/* One look. */

struct look {
    struct inspection *inspection;
    const struct inspect_options *options;
    const uint64_t *settled;
    uint64_t done_bytes, all_bytes;
};

static bool begin(void *ctx, const struct spool *spool, const uint64_t *settled, uint64_t bytes, struct err *err) {
    struct look *look = ctx;
    struct inspection *inspection = look->inspection;
    const struct store *store = &spool->store;

    (void)err;
    look->settled = settled;
    look->all_bytes = bytes;
    inspection->output_count = store->outputs;
    for (unsigned i = 0; i < store->outputs; i++) {
        inspection->outputs[i] = (struct inspect_output){ .hash = store->names[i].hash, .settled = settled[i] };
        copy_name(inspection->outputs[i].name, &store->names[i]);
    }
    return true;
}

static void *grown(void *items, size_t count, size_t *cap, size_t size) {
    size_t wanted = *cap > 0 ? *cap * 2 : 64;
    void *larger;

    if (count < *cap)
        return items;
    larger = realloc(items, wanted * size);
    if (larger != NULL)
        *cap = wanted;
    return larger;
}

static void note_file(void *ctx, uint64_t number, uint64_t size, const struct segment_header *header, const struct segment *segment) {
    struct look *look = ctx;
    struct inspection *inspection = look->inspection;
    struct inspect_segment *larger =
        grown(inspection->segments, inspection->segment_count, &inspection->segment_cap, sizeof *larger);

    look->done_bytes += size;
    if (look->options->progress != NULL)
        look->options->progress(look->options->ctx, look->done_bytes, look->all_bytes);
    if (larger == NULL) {
        inspection->out_of_memory = true;
        return;
    }
    inspection->segments = larger;
    inspection->bytes += size;
    larger[inspection->segment_count++] = (struct inspect_segment){
        .number = number,
        .generation = segment != NULL ? segment->generation : header != NULL ? header->generation : 0,
        .file_bytes = size,
        .thinned = header != NULL ? header->thinned : 0,
        .version = header != NULL ? header->version : 0,
        .state = segment != NULL ? INSPECT_SETTLED : header != NULL ? INSPECT_FOREIGN : INSPECT_UNREADABLE,
    };
}

/* What a record adds to the outputs that still wait for it. */
static void add_pending(struct inspection *inspection, uint64_t pending, const struct record_head *head) {
    for (uint64_t left = pending; left != 0; left &= left - 1) {
        struct inspect_output *output = &inspection->outputs[__builtin_ctzll(left)];
        output->messages++;
        output->lines += head->lines;
        output->bytes += head->text_len;
        if (output->oldest_ns == 0 || head->appended_ns < output->oldest_ns)
            output->oldest_ns = head->appended_ns;
    }
}

static void note_frame(void *ctx, const struct segment *segment, const struct frame_header *frame, uint64_t seen) {
    struct look *look = ctx;
    struct inspection *inspection = look->inspection;
    struct look_walk walk = { .frame = frame };
    const struct record_head *head;

    if (inspection->segment_count == 0 || inspection->segments[inspection->segment_count - 1].number != segment->number)
        return; /* there was no memory for it */
    struct inspect_segment *mine = &inspection->segments[inspection->segment_count - 1];
    mine->frames++;
    while ((head = look_next(&walk, seen)) != NULL) {
        uint64_t pending = look_pending(segment_set(segment, head, inspection->output_count), walk.sequence, look->settled);
        if (mine->records++ == 0) {
            mine->first_sequence = walk.sequence;
            mine->oldest_ns = head->appended_ns;
        }
        mine->last_sequence = walk.sequence;
        mine->newest_ns = head->appended_ns;
        mine->pending_outputs |= pending;
        add_pending(inspection, pending, head);
    }
    if (mine->pending_outputs != 0)
        mine->state = INSPECT_PENDING;
}

static void note_damage(void *ctx, uint64_t number, uint64_t from, uint64_t to) {
    struct look *look = ctx;
    struct inspection *inspection = look->inspection;
    struct inspect_range *larger = grown(inspection->damaged, inspection->damaged_count, &inspection->damaged_cap, sizeof *larger);

    if (larger == NULL) {
        inspection->out_of_memory = true;
        return;
    }
    inspection->damaged = larger;
    larger[inspection->damaged_count++] = (struct inspect_range){ number, from, to };
}

void inspection_release(struct inspection *inspection) {
    free(inspection->segments);
    free(inspection->damaged);
    *inspection = (struct inspection){ 0 };
}

bool inspection_is_damaged(const struct inspection *inspection) {
    return inspection->damaged_count > 0 || inspection->lost_records > 0;
}

static bool look_once(const char *directory, const struct inspect_options *options, struct inspection *inspection, struct err *err) {
    struct look look = { .inspection = inspection, .options = options };
    const struct recovery_watch watch = { &look, begin, note_file, note_frame, note_damage };
    struct looker looker;
    bool fine;

    *inspection = (struct inspection){ .in_use = fs_is_locked(directory) };
    fine = look_read(&looker, directory, &watch, err);
    if (fine) {
        const struct spool_recovery *report = &looker.spool->recovery;
        inspection->lost_records = report->lost_records;
        inspection->torn_bytes = report->torn_bytes;
        inspection->without_checkpoint = report->without_checkpoint;
        for (size_t i = 0; i < inspection->segment_count; i++) {
            inspection->frames += inspection->segments[i].frames;
            inspection->records += inspection->segments[i].records;
        }
        fine = !inspection->out_of_memory || err_set(err, ERR_LIMIT, "no memory to read %s", directory);
    }
    look_end(&looker);
    return fine;
}

static bool has_range(const struct inspection *inspection, const struct inspect_range *range) {
    for (size_t i = 0; i < inspection->damaged_count; i++)
        if (inspection->damaged[i].number == range->number && inspection->damaged[i].from == range->from)
            return true;
    return false;
}

/* What is damaged now and was at the look before. */
static void keep_common(struct inspection *now, const struct inspection *before) {
    size_t kept = 0;

    for (size_t i = 0; i < now->damaged_count; i++)
        if (has_range(before, &now->damaged[i]))
            now->damaged[kept++] = now->damaged[i];
    now->damaged_count = kept;
    if (before->lost_records < now->lost_records)
        now->lost_records = before->lost_records;
}

bool spool_inspect(const char *directory, const struct inspect_options *options, struct inspection *inspection, struct err *err) {
    struct inspection before;

    if (!look_once(directory, options, inspection, err))
        return false;
    for (int looks = 1; looks < LOOKS && inspection->in_use && inspection_is_damaged(inspection); looks++) {
        before = *inspection;
        nanosleep(&(struct timespec){ 0, 50 * NS_PER_MS }, NULL);
        bool fine = look_once(directory, options, inspection, err);
        if (fine)
            keep_common(inspection, &before);
        inspection_release(&before);
        if (!fine)
            return false;
    }
    return true;
}
