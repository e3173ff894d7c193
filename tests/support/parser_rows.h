/* tests/support/parser_rows.h: rows of payload and expected points, each its own named cmocka test. Include after cmocka.h. */
#ifndef HELIOGRAF_TESTS_PARSER_ROWS_H
#define HELIOGRAF_TESTS_PARSER_ROWS_H

#include "tests/support/parser_fixture.h"

struct parser_row {
    const char *name;
    const char *options;
    struct str payload;
    const char *want;    /* the points as fixture_print writes them; NULL: the parser refuses */
    const char *why;     /* a part of the refusal's text */
    uint64_t omitted;
    int64_t received_ns;
};

#define P(text) { (text), sizeof(text) - 1 }

static inline void check_parser_row(const struct parser_type *type, const struct parser_row *row) {
    struct parser_fixture fixture;
    struct buf text = BUF_INIT(1 << 20);
    bool fine;

    if (!fixture_init(&fixture, type, row->options != NULL ? row->options : ""))
        fail_msg("init refuses: %s", fixture.err.text);
    /* Twice: the second message meets what the first one taught. */
    for (int pass = 0; pass < 2; pass++) {
        fine = fixture_parse(&fixture, row->payload, row->received_ns);
        if (fine != (row->want != NULL))
            fail_msg("parse says %s: %s", fine ? "yes" : "no", fixture.err.text);
        assert_int_equal(fixture.out.omitted, row->omitted);
        if (fine) {
            assert_string_equal(fixture_print(&fixture.out, &text), row->want);
            continue;
        }
        assert_int_equal(fixture.out.count + fixture.out.tag_count + fixture.out.field_count, 0);
        assert_int_not_equal(fixture.err.code, ERR_NONE);
        if (strstr(fixture.err.text, row->why) == NULL)
            fail_msg("the error is '%s', which does not hold '%s'", fixture.err.text, row->why);
    }
    buf_release(&text);
    fixture_release(&fixture);
}

struct init_row {
    const char *name, *options;
    const char *why; /* a part of the refusal's text; NULL: accepted */
};

static inline void check_init_row(const struct parser_type *type, const struct init_row *row) {
    struct parser_fixture fixture;
    bool fine = fixture_init(&fixture, type, row->options);

    assert_int_equal(fine, row->why == NULL);
    if (!fine && strstr(fixture.err.text, row->why) == NULL)
        fail_msg("the error is '%s', which does not hold '%s'", fixture.err.text, row->why);
    fixture_release(&fixture);
}

#define ROW_TESTS(tests, used, rows, function)                                                                            \
    for (size_t row_ = 0; row_ < sizeof(rows) / sizeof((rows)[0]); row_++)                                                \
    (tests)[(used)++] = (struct CMUnitTest){ .name = (rows)[row_].name, .test_func = function, .initial_state = &(rows)[row_] }

#endif
