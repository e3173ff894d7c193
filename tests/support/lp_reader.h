/*
 * tests/support/lp_reader.h: line protocol read back, strictly: a line passes only when InfluxDB 1, 2, 3 and their kin
 * all accept it and all see the same names in it. Shares no code with the encoder or a parser, on purpose.
 */
#ifndef HELIOGRAF_TESTS_LP_READER_H
#define HELIOGRAF_TESTS_LP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lp_text {
    const char *data; /* unescaped */
    size_t len;
};

enum lp_type { LP_FLOAT, LP_INTEGER, LP_UNSIGNED, LP_BOOLEAN, LP_STRING };

struct lp_tag {
    struct lp_text key, value;
};

struct lp_field {
    struct lp_text key;
    enum lp_type type;
    double f;
    int64_t i;
    uint64_t u;
    bool b;
    struct lp_text text; /* LP_STRING: unescaped; LP_FLOAT: as written */
};

struct lp_point {
    struct lp_text measurement;
    struct lp_tag *tags;
    struct lp_field *fields;
    size_t tag_count, field_count;
    int64_t time_ns;
    char *memory; /* owner of all texts */
};

/* One line without its newline. NULL when it is good, else why not; `point` is to be freed in both cases. */
const char *lp_read(const char *line, size_t len, struct lp_point *point);
void lp_free(struct lp_point *point);

#endif
