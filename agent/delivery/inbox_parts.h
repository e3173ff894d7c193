/* agent/delivery/inbox_parts.h: what the inbox's two files share. */
#ifndef HELIOGRAF_DELIVERY_INBOX_PARTS_H
#define HELIOGRAF_DELIVERY_INBOX_PARTS_H

#include "agent/delivery/inbox.h"

#define INBOX_FOLDER "inbox"
#define INBOX_ENDING ".jsonl"
enum { INBOX_VERSION = 1, INBOX_PATH_SIZE = 4096 };

bool inbox_folder(char path[INBOX_PATH_SIZE], const char *letters_directory, struct err *err);

#endif
