/*
 * agent/commands/message_format.h: how `sub` prints a message: mosquitto_sub's -F formats, and its two plain forms. Pure but for
 * the time zone.
 */
#ifndef HELIOGRAF_COMMANDS_MESSAGE_FORMAT_H
#define HELIOGRAF_COMMANDS_MESSAGE_FORMAT_H

#include "agent/base/buf.h"
#include "agent/mqtt_client/client.h"

struct message_format;

/*
 * `%` with an optional `-` or `0`, width and precision, and one of A C D E F I J P R S U X j l m p q r t x %; `@` with one letter of
 * strftime, N or @; `\` with one of \ 0 a e n r t v. NULL with `err` that names the place. `pretty`: JSON over many lines.
 */
struct message_format *message_format_new(const char *text, bool pretty, struct err *err);
void message_format_free(struct message_format *format); /* NULL is fine */

/* Appends; false with `err`, and `out` as it was: %J with a payload that is not JSON. */
bool message_format_print(const struct message_format *format, const struct mqtt_client_message *message, struct buf *out,
                          struct err *err);

/* Without -F: the payload, and with `verbose` the topic before it; an empty payload is "(null)", or nothing. */
void message_print_plain(const struct mqtt_client_message *message, bool verbose, bool end_of_line, struct buf *out);

#endif
