/* agent/delivery/inbox_write.c: writing: see inbox.h. */
#define _DEFAULT_SOURCE /* flock */
#include "agent/delivery/inbox_parts.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/crc32c.h"
#include "agent/base/fs.h"
#include "agent/delivery/json_text.h"

#define UNDONE ".tmp"

/* Root may be at work in somebody else's directory: that one must be able to delete what is in here. */
static void adopt_folder(int folder) {
    int parent = openat(folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (parent < 0)
        return;
    fs_adopt(folder, parent);
    close(parent);
}

/* Of commands that were cut off: nobody else is in here now. */
static void remove_undone(int folder) {
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;

    if (stream == NULL) {
        if (copy >= 0)
            close(copy);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (str_ends_with(str_of(entry->d_name), STR(UNDONE)))
            unlinkat(folder, entry->d_name, 0);
    closedir(stream);
}

static bool refuse(struct err *err, int error, const char *path) {
    if (error == EACCES || error == EPERM)
        return err_set(err, ERR_IO, "may not write in %s: run this as the user who runs heliograf, or as root", path);
    return err_set_errno(err, error, "cannot write in %s", path);
}

bool inbox_open(struct inbox_writer *writer, const char *letters_directory, struct err *err) {
    *writer = (struct inbox_writer){ .fd = -1, .text = BUF_INIT(INBOX_FILE_MAX - 4096) };
    if (!inbox_folder(writer->directory, letters_directory, err))
        return false;
    if (access(letters_directory, F_OK) != 0)
        return err_set_errno(err, errno, "cannot use %s", letters_directory);
    if (mkdir(writer->directory, 0700) != 0 && errno != EEXIST)
        return refuse(err, errno, letters_directory);
    writer->fd = open(writer->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (writer->fd < 0)
        return refuse(err, errno, writer->directory);
    adopt_folder(writer->fd);
    while (flock(writer->fd, LOCK_EX) != 0)
        if (errno != EINTR)
            break; /* a filesystem without locks: then two commands at once are the user's own affair */
    remove_undone(writer->fd);
    return true;
}

void inbox_close(struct inbox_writer *writer) {
    if (writer->fd >= 0)
        close(writer->fd);
    writer->fd = -1;
    buf_release(&writer->text);
}

static bool write_text(const struct inbox_writer *writer, int file) {
    struct str text = buf_str(&writer->text);
    char head[160];
    int len = snprintf(head, sizeof head, "{\"heliograf_inbox\":%d,\"entries\":%zu,\"bytes\":%zu,\"crc32c\":\"%08" PRIx32 "\"}\n",
                       INBOX_VERSION, writer->entries, text.len, crc32c(0, text.data, text.len));

    return fs_write_all(file, str_make(head, (size_t)len)) && fs_write_all(file, text) && fdatasync(file) == 0;
}

/* A name that sorts behind all others, as the clock goes. */
static void choose_name(char name[INBOX_NAME_MAX], const char *ending) {
    snprintf(name, INBOX_NAME_MAX, "%020" PRId64 "-%ld%s", clock_unique_ns(), (long)getpid(), ending);
}

bool inbox_finish(struct inbox_writer *writer, struct err *err) {
    char undone[INBOX_NAME_MAX], name[INBOX_NAME_MAX];
    bool fine;
    int file;

    if (writer->entries == 0)
        return true;
    choose_name(undone, UNDONE);
    choose_name(name, INBOX_ENDING);
    file = openat(writer->fd, undone, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return refuse(err, errno, writer->directory);
    fs_adopt(file, writer->fd);
    fine = write_text(writer, file) && renameat(writer->fd, undone, writer->fd, name) == 0;
    if (!fine)
        refuse(err, errno, writer->directory);
    close(file);
    if (!fine) {
        unlinkat(writer->fd, undone, 0);
        return false;
    }
    fsync(writer->fd); /* best effort; until the name is on disk the letters are still in the ring */
    memcpy(writer->last_name, name, sizeof name);
    writer->handed_over += writer->entries;
    writer->entries = 0;
    buf_reset(&writer->text);
    return true;
}

static bool add_line(struct inbox_writer *writer, cJSON *object, struct err *err) {
    char *line = object != NULL ? cJSON_PrintUnformatted(object) : NULL;
    size_t len = line != NULL ? strlen(line) : 0;
    bool fine = line != NULL;

    if (!fine)
        err_set(err, ERR_LIMIT, "no memory");
    if (fine && writer->entries > 0 && (writer->text.len + len + 1 > INBOX_FILE_USUAL || writer->entries >= INBOX_ENTRIES_USUAL))
        fine = inbox_finish(writer, err);
    if (fine) {
        size_t before = writer->text.len;
        fine = (buf_append(&writer->text, line, len) && buf_append_char(&writer->text, '\n')) ||
               err_set(err, ERR_LIMIT, "its lines are more than %d MiB", INBOX_FILE_MAX >> 20);
        if (!fine)
            writer->text.len = before;
        writer->entries += fine;
    }
    cJSON_free(line);
    return fine;
}

static bool add_id(cJSON *object, uint64_t id) {
    char text[LETTER_ID_LEN + 1];

    letter_id_print(text, id);
    return cJSON_AddStringToObject(object, "id", text) != NULL;
}

static bool add_outputs(cJSON *record, uint64_t set, const char *const *names) {
    cJSON *list = cJSON_AddArrayToObject(record, "outputs");

    for (; set != 0; set &= set - 1)
        if (!cJSON_AddItemToArray(list, cJSON_CreateString(names[__builtin_ctzll(set)])))
            return false;
    return list != NULL;
}

static bool add_record(cJSON *list, const struct spool_record *record, const char *const *names) {
    cJSON *item = cJSON_CreateObject();

    return cJSON_AddItemToArray(list, item) && add_outputs(item, record->outputs, names) &&
           json_add_data(item, "lines", "lines_base64", record->text);
}

bool inbox_add(struct inbox_writer *writer, uint64_t id, const struct spool_record *records, size_t count,
               const char *const *output_names, struct err *err) {
    cJSON *object = cJSON_CreateObject(), *list = NULL;
    bool fine = object != NULL && add_id(object, id) && json_add_text(object, "topic", records[0].topic) &&
                (list = cJSON_AddArrayToObject(object, "records")) != NULL;

    for (size_t i = 0; fine && i < count; i++)
        fine = add_record(list, &records[i], output_names);
    fine = add_line(writer, fine ? object : NULL, err);
    cJSON_Delete(object);
    return fine;
}

bool inbox_add_purge(struct inbox_writer *writer, uint64_t id, struct err *err) {
    cJSON *object = cJSON_CreateObject();
    bool made = object != NULL && add_id(object, id) && cJSON_AddTrueToObject(object, "purge") != NULL;
    bool fine = add_line(writer, made ? object : NULL, err);

    cJSON_Delete(object);
    return fine;
}
