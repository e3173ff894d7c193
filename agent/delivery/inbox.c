/* agent/delivery/inbox.c: reading: see inbox.h. */
#include "agent/delivery/inbox_parts.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/crc32c.h"
#include "agent/base/fs.h"
#include "agent/delivery/json_text.h"

enum {
    TOPIC_MAX = UINT16_MAX,
    ENTRY_MIN = 24, /* bytes of an id with its name */
};

bool inbox_folder(char path[INBOX_PATH_SIZE], const char *letters_directory, struct err *err) {
    int len = snprintf(path, INBOX_PATH_SIZE, "%s/" INBOX_FOLDER, letters_directory);

    return (len > 0 && len < INBOX_PATH_SIZE) || err_set(err, ERR_LIMIT, "path of directory %s is too long", letters_directory);
}

static bool file_path(char path[INBOX_PATH_SIZE], const char *letters_directory, const char *name, struct err *err) {
    int len = snprintf(path, INBOX_PATH_SIZE, "%s/" INBOX_FOLDER "/%s", letters_directory, name);

    return (len > 0 && len < INBOX_PATH_SIZE) || err_set(err, ERR_LIMIT, "path of directory %s is too long", letters_directory);
}

static int open_folder(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Decoding. Every failure of one of these is a damaged file. */

static bool read_outputs(const cJSON *list, struct arena *arena, struct inbox_record *record) {
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    const cJSON *item;
    struct str *names;

    if (count < 1 || count > SPOOL_OUTPUTS_MAX || (names = arena_alloc(arena, (size_t)count * sizeof *names)) == NULL)
        return false;
    record->outputs = names;
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item))
            return false;
        names[record->output_count] = arena_copy(arena, str_of(item->valuestring));
        if (names[record->output_count].data == NULL)
            return false;
        record->output_count++;
    }
    return true;
}

static uint32_t count_lines(struct str text) {
    uint32_t lines = 0;

    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    return lines;
}

static bool read_record(const cJSON *object, struct arena *arena, struct inbox_record *record) {
    *record = (struct inbox_record){ 0 };
    if (!read_outputs(cJSON_GetObjectItemCaseSensitive(object, "outputs"), arena, record) ||
        !json_read_data(object, "lines", "lines_base64", arena, &record->lines) || record->lines.len == 0 ||
        record->lines.data[record->lines.len - 1] != '\n')
        return false;
    record->line_count = count_lines(record->lines);
    return true;
}

static bool read_records(const cJSON *list, struct arena *arena, struct inbox_entry *entry) {
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    struct inbox_record *records;
    const cJSON *item;

    if (count < 1 || count > SPOOL_OUTPUTS_MAX || (records = arena_alloc(arena, (size_t)count * sizeof *records)) == NULL)
        return false;
    entry->records = records;
    cJSON_ArrayForEach(item, list)
        if (!read_record(item, arena, &records[entry->record_count++]))
            return false;
    return true;
}

static bool read_entry(struct str line, struct arena *arena, struct inbox_entry *entry) {
    cJSON *object = cJSON_ParseWithLength(line.data, line.len);
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(object, "id");
    bool fine = cJSON_IsString(id) && letter_id_parse(str_of(id->valuestring), &entry->id);

    entry->purge = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "purge"));
    if (fine && !entry->purge)
        fine = json_read_text(object, "topic", arena, &entry->topic) && entry->topic.len <= TOPIC_MAX &&
               read_records(cJSON_GetObjectItemCaseSensitive(object, "records"), arena, entry);
    cJSON_Delete(object);
    return fine;
}

struct head {
    double version, entries, bytes;
    uint32_t sum;
};

static bool read_head(struct str line, struct head *head) {
    cJSON *object = cJSON_ParseWithLength(line.data, line.len);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(object, "heliograf_inbox");
    const cJSON *entries = cJSON_GetObjectItemCaseSensitive(object, "entries");
    const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(object, "bytes");
    const cJSON *sum = cJSON_GetObjectItemCaseSensitive(object, "crc32c");
    bool fine = cJSON_IsNumber(version) && cJSON_IsNumber(entries) && cJSON_IsNumber(bytes) && cJSON_IsString(sum) &&
                sscanf(sum->valuestring, "%8" SCNx32, &head->sum) == 1;

    if (fine) {
        head->version = version->valuedouble;
        head->entries = entries->valuedouble;
        head->bytes = bytes->valuedouble;
    }
    cJSON_Delete(object);
    return fine;
}

bool inbox_decode(struct str text, struct arena *arena, struct inbox_request *request, struct err *err) {
    struct str rest = text, line = str_split(&rest, '\n');
    struct inbox_entry *entries;
    struct head head;
    size_t count = 0;

    if (rest.data == NULL || !read_head(line, &head))
        return err_set(err, ERR_SYNTAX, "it does not begin as it should");
    if (head.version != INBOX_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "it is of version %.0f, and this program knows %d", head.version, INBOX_VERSION);
    if (head.bytes != (double)rest.len || head.sum != crc32c(0, rest.data, rest.len))
        return err_set(err, ERR_SYNTAX, "it was cut or changed: its checksum does not fit");
    if (!(head.entries >= 1 && head.entries <= (double)rest.len / ENTRY_MIN))
        return err_set(err, ERR_SYNTAX, "it has an impossible number of entries");
    entries = arena_zalloc(arena, (size_t)head.entries * sizeof *entries);
    if (entries == NULL)
        return err_set(err, ERR_LIMIT, "no memory for it");
    while (rest.data != NULL && rest.len > 0) {
        line = str_split(&rest, '\n');
        if ((double)count >= head.entries || !read_entry(line, arena, &entries[count++]))
            return err_set(err, ERR_SYNTAX, "entry %zu is not one", count);
    }
    if ((double)count != head.entries)
        return err_set(err, ERR_SYNTAX, "it has %zu entries and not %.0f", count, head.entries);
    *request = (struct inbox_request){ entries, count };
    return true;
}

/* Files. */

/* A file, and not a pipe that nobody writes to. */
static bool is_request(int folder, const char *name) {
    struct str text = str_of(name);
    struct stat info;

    return text.len < INBOX_NAME_MAX && name[0] != '.' && str_ends_with(text, STR(INBOX_ENDING)) &&
           fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode);
}

static bool add_name(struct inbox_names *names, const char *name) {
    if (names->count == names->cap) {
        size_t cap = names->cap > 0 ? names->cap * 2 : 16;
        char(*larger)[INBOX_NAME_MAX] = realloc(names->items, cap * sizeof *larger);
        if (larger == NULL)
            return false;
        names->items = larger;
        names->cap = cap;
    }
    memcpy(names->items[names->count++], name, strlen(name) + 1); /* is_request has seen that it fits */
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

bool inbox_list(const char *letters_directory, struct inbox_names *names, struct err *err) {
    char path[INBOX_PATH_SIZE];
    DIR *stream;
    bool fine = true;

    names->count = 0;
    if (!inbox_folder(path, letters_directory, err))
        return false;
    stream = opendir(path);
    if (stream == NULL)
        return errno == ENOENT || err_set_errno(err, errno, "cannot read directory %s", path);
    for (const struct dirent *entry; fine && (entry = readdir(stream)) != NULL;)
        if (is_request(dirfd(stream), entry->d_name))
            fine = add_name(names, entry->d_name) || err_set(err, ERR_LIMIT, "no memory to list %s", path);
    closedir(stream);
    if (names->count > 0)
        qsort(names->items, names->count, sizeof names->items[0], by_name);
    return fine;
}

void inbox_names_release(struct inbox_names *names) {
    free(names->items);
    *names = (struct inbox_names){ 0 };
}

bool inbox_read(const char *letters_directory, const char *name, struct arena *arena, struct inbox_request *request,
                struct err *err) {
    struct buf text = BUF_INIT(INBOX_FILE_MAX);
    char path[INBOX_PATH_SIZE];
    bool fine;

    if (!file_path(path, letters_directory, name, err))
        return false;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return err_set(err, ERR_MISSING, "%s is gone", path);
    fine = fs_read_file(path, &text, err) && inbox_decode(buf_str(&text), arena, request, err);
    buf_release(&text);
    return fine;
}

static bool sync_folder(const char *letters_directory, struct err *err) {
    char path[INBOX_PATH_SIZE];
    int folder;

    if (!inbox_folder(path, letters_directory, err))
        return false;
    folder = open_folder(path);
    if (folder < 0)
        return err_set_errno(err, errno, "cannot open directory %s", path);
    fsync(folder); /* best effort: some filesystems refuse */
    close(folder);
    return true;
}

bool inbox_remove(const char *letters_directory, const char *name, struct err *err) {
    char path[INBOX_PATH_SIZE];

    if (!file_path(path, letters_directory, name, err))
        return false;
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot delete %s", path);
    return sync_folder(letters_directory, err);
}

bool inbox_set_aside(const char *letters_directory, const char *name, struct err *err) {
    char path[INBOX_PATH_SIZE], aside[INBOX_PATH_SIZE + 8];

    if (!file_path(path, letters_directory, name, err))
        return false;
    snprintf(aside, sizeof aside, "%.*s.bad", (int)(strlen(path) - strlen(INBOX_ENDING)), path);
    if (rename(path, aside) != 0)
        return err_set_errno(err, errno, "cannot rename %s", path);
    return sync_folder(letters_directory, err);
}

bool inbox_ids(const char *letters_directory, struct letter_ids *ids, struct err *err) {
    struct inbox_names names = { 0 };
    struct arena arena;
    bool fine = inbox_list(letters_directory, &names, err);

    arena_init(&arena, 4 * (size_t)INBOX_FILE_MAX);
    for (size_t i = 0; fine && i < names.count; i++) {
        struct inbox_request request = { 0 };
        arena_reset(&arena);
        if (!inbox_read(letters_directory, names.items[i], &arena, &request, NULL))
            continue;
        for (size_t j = 0; fine && j < request.count; j++)
            fine = letter_ids_add(ids, request.entries[j].id) || err_set(err, ERR_LIMIT, "no memory");
    }
    letter_ids_sort(ids);
    arena_release(&arena);
    inbox_names_release(&names);
    return fine;
}
