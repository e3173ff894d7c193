/*
 * tests/fuzz/fuzz_store.c: a state directory whose database and log are random bytes: it is opened or refused with words about its version, nothing else;
 * whatever was wrong with it, the next opening finds nothing wrong. The first three bytes say how much of the rest is the database; behind it is the log.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <dirent.h>

#include "agent/base/log.h"
#include "tests/support/store_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct store_fixture fixture;

static void in_directory(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", fixture.directory, name);
}

static void write_file(const char *name, const uint8_t *data, size_t size) {
    char path[400];
    FILE *file;

    in_directory(path, sizeof path, name);
    file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size)
        abort();
    fclose(file);
}

static void remove_all(void) {
    DIR *directory = opendir(fixture.directory);
    char path[400];

    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        in_directory(path, sizeof path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(directory);
}

static void remove_directory(void) {
    remove_all();
    rmdir(fixture.directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t split;

    if (size < 3)
        return 0;
    if (fixture.directory[0] == '\0') {
        fixture_new(&fixture);
        atexit(remove_directory);
    }
    split = (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16;
    data += 3;
    size -= 3;
    split = split < size ? split : size;
    remove_all();
    write_file("broker.db", data, split);
    if (split < size)
        write_file("broker.db-wal", data + split, size - split);
    if (!fixture_open(&fixture)) {
        if (strstr(fixture.err.text, "is of version") == NULL) {
            fprintf(stderr, "not opened: %s\n", fixture.err.text);
            abort();
        }
        return 0;
    }
    fixture_close(&fixture);
    if (!fixture_open(&fixture) || fixture.recovery.damaged) {
        fprintf(stderr, "the second time: %s %s\n", fixture.err.text, fixture.recovery.damage);
        abort();
    }
    fixture_close(&fixture);
    return 0;
}
