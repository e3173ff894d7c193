/*
 * agent/delivery/dead_letter_json.h: one dead letter as one line of JSON, and back. The only user of cJSON here.
 */
#ifndef HELIOGRAF_DELIVERY_DEAD_LETTER_JSON_H
#define HELIOGRAF_DELIVERY_DEAD_LETTER_JSON_H

#include "agent/base/arena.h"
#include "agent/base/buf.h"
#include "agent/base/dead_letter.h"

/*
 * Appends the line with its newline. Text that is not UTF-8 is mended with U+FFFD, data stays exact. False: no memory
 * or room.
 */
bool dead_letter_encode(const struct dead_letter *letter, struct buf *out);

/*
 * One line without its newline, whatever its bytes. Strings live in `arena`. False when it is no letter, or without
 * memory.
 */
bool dead_letter_decode(struct str line, struct arena *arena, struct dead_letter *letter);

#endif
