/*
 * tests/fuzz/fuzz_inbox.c: a file in the inbox with random bytes is refused or understood without harm; what is understood
 * keeps what the spool asks of a record. The bytes go in as they are, and once more behind a first line that fits them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/crc32c.h"
#include "agent/delivery/inbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const struct inbox_record *record) {
    uint32_t lines = 0;

    if (record->output_count == 0 || record->output_count > SPOOL_OUTPUTS_MAX || record->lines.len == 0 ||
        record->lines.data[record->lines.len - 1] != '\n')
        abort();
    for (size_t i = 0; i < record->lines.len; i++)
        lines += record->lines.data[i] == '\n';
    if (lines != record->line_count)
        abort();
    for (size_t i = 0; i < record->output_count; i++)
        if (strnlen(record->outputs[i].data, record->outputs[i].len) != record->outputs[i].len)
            abort();
}

static void decode(struct str text) {
    struct inbox_request request = { 0 };
    struct err err = ERR_INIT;
    struct arena arena;

    arena_init(&arena, 1 << 24);
    if (!inbox_decode(text, &arena, &request, &err)) {
        if (err.code == ERR_NONE || err.text[0] == '\0' || request.count != 0)
            abort();
    } else {
        for (size_t i = 0; i < request.count; i++) {
            const struct inbox_entry *entry = &request.entries[i];
            if (!entry->purge && (entry->record_count == 0 || entry->topic.len > UINT16_MAX))
                abort();
            for (size_t j = 0; j < entry->record_count; j++)
                check_record(&entry->records[j]);
        }
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str bytes = str_make((const char *)data, size);
    struct buf text = BUF_INIT(1 << 24);
    unsigned entries = 0;

    decode(bytes);
    for (size_t i = 0; i < size; i++)
        entries += data[i] == '\n';
    if (size > 0 && data[size - 1] != '\n')
        entries++;
    buf_printf(&text, "{\"heliograf_inbox\":1,\"entries\":%u,\"bytes\":%zu,\"crc32c\":\"%08x\"}\n", entries, size,
               (unsigned)crc32c(0, data, size));
    buf_append_str(&text, bytes);
    decode(buf_str(&text));
    buf_release(&text);
    return 0;
}
