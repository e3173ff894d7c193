/* agent/commands/print.c: see print.h. */
#include "agent/commands/print.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

/* C1 control characters are two bytes in UTF-8, and some terminals obey them. */
static bool is_c1(struct str text, size_t at) {
    return (unsigned char)text.data[at] == 0xc2 && at + 1 < text.len && (unsigned char)text.data[at + 1] < 0xa0;
}

bool print_is_text(struct str data) {
    if (!str_is_utf8(data))
        return false;
    for (size_t i = 0; i < data.len; i++)
        if ((is_control((unsigned char)data.data[i]) && strchr("\n\r\t", data.data[i]) == NULL) || data.data[i] == '\0' || is_c1(data, i))
            return false;
    return true;
}

static void print_control(struct buf *out, unsigned char c) {
    switch (c) {
    case '\n':
        buf_append_c(out, "\\n");
        break;
    case '\r':
        buf_append_c(out, "\\r");
        break;
    case '\t':
        buf_append_c(out, "\\t");
        break;
    default:
        buf_printf(out, "\\x%02x", c);
        break;
    }
}

static size_t character_len(struct str text, size_t at) {
    size_t len = 1;

    while (at + len < text.len && ((unsigned char)text.data[at + len] & 0xc0) == 0x80)
        len++;
    return len;
}

static void short_text(struct buf *out, struct str text, size_t width) {
    size_t used = 0;

    for (size_t i = 0; i < text.len;) {
        size_t len = character_len(text, i), before = out->len;
        bool plain = !is_control((unsigned char)text.data[i]) && !is_c1(text, i);
        if (plain)
            buf_append(out, text.data + i, len);
        else if (len == 1)
            print_control(out, (unsigned char)text.data[i]);
        else
            buf_printf(out, "\\x%02x", (unsigned char)text.data[i + 1]);
        used += plain ? 1 : out->len - before;
        i += len;
        if (used > width - 4 && i < text.len) {
            buf_append_c(out, "...");
            return;
        }
    }
}

void print_short(struct buf *out, struct str data, size_t width) {
    size_t shown = data.len;

    if (str_is_utf8(data)) {
        short_text(out, data, width);
        return;
    }
    if (2 + 2 * shown > width)
        shown = (width - 5) / 2;
    buf_append_c(out, "0x");
    for (size_t i = 0; i < shown; i++)
        buf_printf(out, "%02x", (unsigned char)data.data[i]);
    if (shown < data.len)
        buf_append_c(out, "...");
}

static void dump_row(struct buf *out, struct str data, size_t at) {
    enum { PER_ROW = 16 };

    buf_printf(out, "%08zx ", at);
    for (size_t i = at; i < at + PER_ROW; i++) {
        if (i < data.len)
            buf_printf(out, "%s%02x", i == at + PER_ROW / 2 ? "  " : " ", (unsigned char)data.data[i]);
        else
            buf_append_c(out, i == at + PER_ROW / 2 ? "    " : "   ");
    }
    buf_append_c(out, "  |");
    for (size_t i = at; i < at + PER_ROW && i < data.len; i++)
        buf_append_char(out, data.data[i] >= 0x20 && data.data[i] < 0x7f ? data.data[i] : '.');
    buf_append_c(out, "|\n");
}

void print_whole(struct buf *out, struct str data) {
    if (print_is_text(data)) {
        buf_append_str(out, data);
        if (data.len > 0 && data.data[data.len - 1] != '\n')
            buf_append_char(out, '\n');
        return;
    }
    for (size_t at = 0; at < data.len; at += 16)
        dump_row(out, data, at);
}

const char *print_time(char out[PRINT_TIME_MAX], int64_t time_ns, bool nanoseconds) {
    time_t seconds = (time_t)(time_ns / NS_PER_S);
    struct tm utc;
    size_t used;

    out[0] = '\0';
    if (gmtime_r(&seconds, &utc) == NULL)
        return out;
    used = strftime(out, PRINT_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
    if (nanoseconds)
        snprintf(out + used, PRINT_TIME_MAX - used, ".%09ldZ", (long)(time_ns % NS_PER_S));
    else
        snprintf(out + used, PRINT_TIME_MAX - used, "Z");
    return out;
}

const char *print_age(char out[PRINT_TIME_MAX], int64_t age_ns) {
    int64_t seconds = age_ns > 0 ? age_ns / NS_PER_S : 0;

    if (seconds < 120)
        snprintf(out, PRINT_TIME_MAX, "%" PRId64 " s", seconds);
    else if (seconds < 7200)
        snprintf(out, PRINT_TIME_MAX, "%" PRId64 " min", seconds / 60);
    else if (seconds < 48 * 3600)
        snprintf(out, PRINT_TIME_MAX, "%" PRId64 " h", seconds / 3600);
    else
        snprintf(out, PRINT_TIME_MAX, "%" PRId64 " d", seconds / 86400);
    return out;
}

const char *print_size(char out[PRINT_TIME_MAX], uint64_t bytes) {
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    double size = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(out, PRINT_TIME_MAX, "%" PRIu64 " B", bytes);
        return out;
    }
    for (; size >= 1024 && unit < 3; unit++)
        size /= 1024;
    snprintf(out, PRINT_TIME_MAX, "%.1f %s", size, units[unit]);
    return out;
}

const char *print_plural(uint64_t count) {
    return count == 1 ? "" : "s";
}

void print_progress(void *ctx, uint64_t done, uint64_t all) {
    struct progress *progress = ctx;
    char left[PRINT_TIME_MAX], right[PRINT_TIME_MAX];
    int64_t now_ns = clock_mono_ns();

    if (progress->last_ns == 0)
        progress->last_ns = now_ns + NS_PER_S / 2;
    if (now_ns - progress->last_ns < NS_PER_S / 2 || isatty(STDERR_FILENO) == 0)
        return;
    progress->last_ns = now_ns;
    progress->shown = true;
    fprintf(stderr, "\r%s: %s of %s ", progress->what, print_size(left, done), print_size(right, all));
}

void print_progress_end(struct progress *progress) {
    if (progress->shown)
        fprintf(stderr, "\r%60s\r", "");
    progress->shown = false;
}
