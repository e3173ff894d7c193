/* agent/commands/message_format.c: see message_format.h. A format is taken apart once, into pieces. */
#include "agent/commands/message_format.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/commands/message_json.h"

enum { WIDTH_MAX = 65536, FORMAT_MAX = 65536 };

enum piece_kind { PIECE_TEXT, PIECE_MESSAGE /* % */, PIECE_TIME /* @ */ };

struct piece {
    enum piece_kind kind;
    char letter;
    bool left, zeros;       /* `-`, `0` */
    int width, precision;   /* 0 and -1: none */
    size_t text_at, length; /* PIECE_TEXT: in format->text */
};

struct message_format {
    bool pretty;
    struct buf text; /* literal bytes, escapes resolved */
    size_t count;
    struct piece pieces[];
};

/* ---- taking apart -------------------------------------------------------------------------------------------------- */

static bool incomplete(const char *text, size_t at, struct err *err) {
    return err_set(err, ERR_SYNTAX, "the format ends within '%.20s' (at byte %zu); a '%c' itself is written twice", text + at, at + 1,
                   text[at]);
}

/* Digits at text[*at], which moves behind them; false past WIDTH_MAX. */
static bool read_number(const char *text, size_t *at, int *out) {
    *out = 0;
    for (; isdigit((unsigned char)text[*at]); ++*at)
        if ((*out = *out * 10 + (text[*at] - '0')) > WIDTH_MAX)
            return false;
    return true;
}

static bool read_percent(const char *text, size_t *at, struct piece *piece, struct err *err) {
    size_t begin = (*at)++;

    piece->kind = PIECE_MESSAGE;
    piece->precision = -1;
    piece->left = text[*at] == '-';
    *at += piece->left;
    piece->zeros = text[*at] == '0';
    *at += piece->zeros;
    if (!read_number(text, at, &piece->width))
        return err_set(err, ERR_LIMIT, "the width in '%.20s' is more than %d", text + begin, WIDTH_MAX);
    if (text[*at] == '.') {
        ++*at;
        if (!read_number(text, at, &piece->precision))
            return err_set(err, ERR_LIMIT, "the precision in '%.20s' is more than %d", text + begin, WIDTH_MAX);
    }
    piece->letter = text[*at];
    if (piece->letter == '\0')
        return incomplete(text, begin, err);
    if (strchr("%ACDEFIJPRSUXjlmpqrtx", piece->letter) == NULL)
        return err_set(err, ERR_SYNTAX, "unknown sequence '%%%c' at byte %zu; known: %%t %%p %%x %%X %%j %%J %%l %%q %%r %%m %%I %%U %%A "
                       "%%C %%D %%E %%F %%P %%R %%S %%%%", piece->letter, begin + 1);
    ++*at;
    return true;
}

static bool read_escape(const char *text, size_t *at, struct buf *literal, struct err *err) {
    static const char letters[] = "\\0aenrtv", bytes[] = "\\\0\a\033\n\r\t\v";
    char letter = text[*at + 1];
    const char *found = letter != '\0' ? strchr(letters, letter) : NULL;

    if (letter == '\0')
        return incomplete(text, *at, err);
    if (found == NULL)
        return err_set(err, ERR_SYNTAX, "unknown escape '\\%c' at byte %zu; known: \\\\ \\0 \\a \\e \\n \\r \\t \\v", letter, *at + 1);
    *at += 2;
    return buf_append_char(literal, bytes[found - letters]);
}

/* A literal byte, escape or doubled @, to the last piece when that is text too. */
static bool read_literal(const char *text, size_t *at, struct message_format *format, struct err *err) {
    struct piece *last = format->count > 0 ? &format->pieces[format->count - 1] : NULL;
    size_t before = format->text.len;
    bool ok;

    if (text[*at] == '\\') {
        ok = read_escape(text, at, &format->text, err);
    } else {
        *at += text[*at] == '@' ? 2 : 1;
        ok = buf_append_char(&format->text, text[*at - 1]);
    }
    if (!ok)
        return false;
    if (last == NULL || last->kind != PIECE_TEXT)
        format->pieces[format->count++] = (struct piece){ .kind = PIECE_TEXT, .text_at = before, .length = 1 };
    else
        last->length++;
    return true;
}

static bool read_piece(const char *text, size_t *at, struct message_format *format, struct err *err) {
    if (text[*at] == '%')
        return read_percent(text, at, &format->pieces[format->count++], err);
    if (text[*at] != '@' || text[*at + 1] == '@')
        return read_literal(text, at, format, err);
    if (text[*at + 1] == '\0')
        return incomplete(text, *at, err);
    format->pieces[format->count++] = (struct piece){ .kind = PIECE_TIME, .letter = text[*at + 1] };
    *at += 2;
    return true;
}

struct message_format *message_format_new(const char *text, bool pretty, struct err *err) {
    size_t len = strlen(text);
    struct message_format *format = len <= FORMAT_MAX ? calloc(1, sizeof *format + (len + 1) * sizeof(struct piece)) : NULL;
    bool ok = format != NULL || err_set(err, ERR_LIMIT, "the format is longer than %d bytes", FORMAT_MAX);

    if (!ok)
        return NULL;
    format->pretty = pretty;
    buf_init(&format->text, len + 1);
    for (size_t at = 0; ok && text[at] != '\0';)
        ok = read_piece(text, &at, format, err);
    if (ok)
        return format;
    message_format_free(format);
    return NULL;
}

void message_format_free(struct message_format *format) {
    if (format == NULL)
        return;
    buf_release(&format->text);
    free(format);
}

/* ---- printing ------------------------------------------------------------------------------------------------------ */

static void pad(struct buf *out, char c, size_t used, int width) {
    for (size_t i = used; i < (size_t)width; i++)
        buf_append_char(out, c);
}

/* As printf's %*.*s, but with bytes that may be anything. */
static void print_text(const struct piece *piece, struct str text, struct buf *out) {
    if (piece->precision >= 0 && text.len > (size_t)piece->precision)
        text.len = (size_t)piece->precision;
    if (!piece->left)
        pad(out, ' ', text.len, piece->width);
    buf_append_str(out, text);
    if (piece->left)
        pad(out, ' ', text.len, piece->width);
}

static void print_number(const struct piece *piece, uint64_t number, struct buf *out) {
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);

    if (!piece->left)
        pad(out, piece->zeros ? '0' : ' ', len, piece->width);
    buf_append(out, digits, len);
    if (piece->left)
        pad(out, ' ', len, piece->width);
}

static void print_hex(struct str data, bool upper, struct buf *out) {
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

    for (size_t i = 0; i < data.len; i++) {
        buf_append_char(out, digits[(unsigned char)data.data[i] >> 4]);
        buf_append_char(out, digits[(unsigned char)data.data[i] & 15]);
    }
}

/* A width cuts the payload, too. */
static void print_payload(const struct piece *piece, struct str payload, struct buf *out) {
    size_t each = piece->letter == 'p' ? 1 : 2;

    if (piece->width > 0 && payload.len > (size_t)piece->width / each)
        payload.len = (size_t)piece->width / each;
    if (!piece->left)
        pad(out, piece->zeros ? '0' : ' ', payload.len * each, piece->width);
    if (each == 1)
        buf_append_str(out, payload);
    else
        print_hex(payload, piece->letter == 'X', out);
    if (piece->left)
        pad(out, ' ', payload.len * each, piece->width);
}

static void print_user_properties(const struct mqtt_properties *properties, struct buf *out) {
    bool first = true;

    for (size_t i = 0; i < properties->count; i++) {
        const struct mqtt_property *property = &properties->items[i];
        if (property->id != MQTT_PROPERTY_USER)
            continue;
        if (!first)
            buf_append_char(out, ' ');
        buf_append_str(out, property->text);
        buf_append_char(out, ':');
        buf_append_str(out, property->value);
        first = false;
    }
}

/* The one property that a letter stands for. What is not there leaves blanks, or nothing. */
static void print_property(const struct piece *piece, const struct mqtt_properties *properties, struct buf *out) {
    static const struct {
        char letter;
        enum mqtt_property_id id;
        enum { NUMBER, TEXT, BYTES } as;
    } rows[] = {
        { 'A', MQTT_PROPERTY_TOPIC_ALIAS, NUMBER },      { 'C', MQTT_PROPERTY_CONTENT_TYPE, TEXT },
        { 'D', MQTT_PROPERTY_CORRELATION_DATA, BYTES },  { 'E', MQTT_PROPERTY_MESSAGE_EXPIRY, NUMBER },
        { 'F', MQTT_PROPERTY_PAYLOAD_FORMAT, NUMBER },   { 'R', MQTT_PROPERTY_RESPONSE_TOPIC, TEXT },
        { 'S', MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, NUMBER },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].letter != piece->letter)
            continue;
        const struct mqtt_property *property = mqtt_properties_find(properties, rows[i].id);
        if (property == NULL)
            pad(out, rows[i].as == NUMBER && piece->zeros ? '0' : ' ', 0, piece->letter == 'D' || piece->letter == 'R' ? 0 : piece->width);
        else if (rows[i].as == NUMBER)
            print_number(piece, property->number, out);
        else if (rows[i].as == TEXT)
            print_text(piece, property->text, out);
        else
            buf_append_str(out, property->text);
    }
}

static bool local_time(int64_t ns, struct tm *out) {
    time_t seconds = (time_t)(ns / NS_PER_S);

    return localtime_r(&seconds, out) != NULL;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the letter is the user's, as it is meant to be */
static void print_time(const struct piece *piece, int64_t ns, struct buf *out) {
    const char strf[] = { '%', piece->letter, '\0' };
    char text[128];
    struct tm local;

    if (piece->letter == 'N')
        buf_printf(out, "%09lld", (long long)(ns % NS_PER_S));
    else if (local_time(ns, &local))
        buf_append(out, text, strftime(text, sizeof text, strf, &local));
}
#pragma GCC diagnostic pop

static void print_iso_time(const struct piece *piece, int64_t ns, struct buf *out) {
    char text[64];
    struct tm local;

    if (local_time(ns, &local))
        print_text(piece, str_make(text, strftime(text, sizeof text, "%FT%T%z", &local)), out);
}

static bool print_message_piece(const struct message_format *format, const struct piece *piece,
                                const struct mqtt_client_message *message, struct buf *out, struct err *err) {
    switch (piece->letter) {
    case '%':
        return buf_append_char(out, '%');
    case 't':
        print_text(piece, message->topic, out);
        return true;
    case 'p':
    case 'x':
    case 'X':
        print_payload(piece, message->payload, out);
        return true;
    case 'j':
    case 'J':
        return message_json_print(message, piece->letter == 'J', format->pretty, out, err);
    case 'l':
        print_number(piece, message->payload.len, out);
        return true;
    case 'm':
        print_number(piece, message->id, out);
        return true;
    case 'q':
        return buf_append_char(out, (char)('0' + message->qos));
    case 'r':
        return buf_append_char(out, message->retain ? '1' : '0');
    case 'P':
        print_user_properties(&message->properties, out);
        return true;
    case 'I':
        print_iso_time(piece, message->received_ns, out);
        return true;
    case 'U':
        return buf_printf(out, "%lld.%09lld", (long long)(message->received_ns / NS_PER_S), (long long)(message->received_ns % NS_PER_S));
    default:
        print_property(piece, &message->properties, out);
        return true;
    }
}

bool message_format_print(const struct message_format *format, const struct mqtt_client_message *message, struct buf *out,
                          struct err *err) {
    size_t before = out->len;

    for (size_t i = 0; i < format->count; i++) {
        const struct piece *piece = &format->pieces[i];
        if (piece->kind == PIECE_TEXT)
            buf_append(out, format->text.data + piece->text_at, piece->length);
        else if (piece->kind == PIECE_TIME)
            print_time(piece, message->received_ns, out);
        else if (!print_message_piece(format, piece, message, out, err)) {
            out->len = before;
            return err->code != ERR_NONE ? false : err_set(err, ERR_LIMIT, "the message is too large to be printed");
        }
    }
    return true;
}

void message_print_plain(const struct mqtt_client_message *message, bool verbose, bool end_of_line, struct buf *out) {
    if (verbose && (message->payload.len > 0 || end_of_line)) {
        buf_append_str(out, message->topic);
        buf_append_char(out, ' ');
    }
    if (message->payload.len > 0)
        buf_append_str(out, message->payload);
    else if (verbose && end_of_line)
        buf_append_c(out, "(null)");
    if (end_of_line && (verbose || message->payload.len > 0))
        buf_append_char(out, '\n');
}
