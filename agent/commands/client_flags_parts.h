/*
 * agent/commands/client_flags_parts.h: between client_flags.c, which reads the words, and client_options.c, which says what they come to.
 */
#ifndef HELIOGRAF_COMMANDS_CLIENT_FLAGS_PARTS_H
#define HELIOGRAF_COMMANDS_CLIENT_FLAGS_PARTS_H

#include "agent/commands/client_flags.h"

/*
 * Checks what was given and fills flags->options. EXIT_FINE, EXIT_USAGE with `err`, or EXIT_CONFIGURATION when the complaints about
 * --config are on stderr already.
 */
int client_flags_settle(struct client_flags *flags, struct err *err);

/* A topic that can be published on. */
bool client_check_topic(const char *topic, struct err *err);

#endif
