/*
 * tests/fuzz/fuzz_dead_letters.c: a ring file of random bytes is read without harm, the ring goes on behind it, and
 * what it takes comes back; a letter made of random bytes keeps its data to the byte.
 */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/delivery/dead_letter_json.h"
#include "agent/delivery/dead_letter_ring.h"
#include "agent/delivery/dead_letters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64], path[128];

static void remove_all(void) {
    unlink(path);
    rmdir(directory);
}

static void make_place(void) {
    if (directory[0] != '\0')
        return;
    snprintf(directory, sizeof directory, "/tmp/fuzz_dead_letters.XXXXXX");
    if (mkdtemp(directory) == NULL)
        abort();
    snprintf(path, sizeof path, "%s/dead-letters-00000001.jsonl", directory);
    atexit(remove_all);
}

static void write_file(struct str bytes) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, bytes.data, bytes.len) != (ssize_t)bytes.len)
        abort();
    close(fd);
}

static bool remember_last(void *ctx, const struct dead_letter *letter) {
    *(bool *)ctx = str_eq_c(letter->stage, "fuzz") && str_eq_c(letter->data, "last");
    return true;
}

static void read_ring(struct str bytes) {
    const struct dead_letter letter = {
        .time_ns = 1,
        .stage = STR("fuzz"),
        .input = STR_EMPTY,
        .output = STR_EMPTY,
        .topic = STR_EMPTY,
        .reason = STR_EMPTY,
        .detail = STR_EMPTY,
        .data = STR("last"),
    };
    struct dead_letters_found found;
    struct buf line = BUF_INIT(4096);
    struct ring ring;
    bool last = false;

    write_file(bytes);
    if (!dead_letters_read(directory, remember_last, &last, &found, NULL) ||
        !ring_open(&ring, directory, 1 << 24, NULL))
        abort();
    if (!dead_letter_encode(&letter, &line) || !ring_write(&ring, buf_str(&line), NULL))
        abort();
    ring_close(&ring);
    if (!dead_letters_read(directory, remember_last, &last, &found, NULL) || !last)
        abort();
    buf_release(&line);
}

static void there_and_back(struct str bytes) {
    const struct dead_letter letter = {
        .time_ns = 1,
        .stage = bytes,
        .input = bytes,
        .output = bytes,
        .topic = bytes,
        .reason = bytes,
        .detail = bytes,
        .data = bytes,
    };
    struct dead_letter again;
    struct buf line = BUF_INIT(1 << 24);
    struct arena arena;

    arena_init(&arena, 1 << 24);
    if (!dead_letter_encode(&letter, &line) || memchr(line.data, '\n', line.len) != line.data + line.len - 1)
        abort();
    if (!dead_letter_decode(str_make(line.data, line.len - 1), &arena, &again) || !str_eq(again.data, bytes))
        abort();
    if (!str_is_utf8(again.topic))
        abort();
    arena_release(&arena);
    buf_release(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str bytes = str_make((const char *)data, size);

    make_place();
    there_and_back(bytes);
    read_ring(bytes);
    return 0;
}
