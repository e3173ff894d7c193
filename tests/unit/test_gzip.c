/* tests/unit/test_gzip.c: what is compressed is what comes out again, by zlib, which shares nothing with libdeflate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "outputs/gzip.h"

static void inflates_to(struct str compressed, struct str wanted) {
    char *out = malloc(wanted.len + 1);
    z_stream stream = { .next_in = (Bytef *)compressed.data,
                        .avail_in = (uInt)compressed.len,
                        .next_out = (Bytef *)out,
                        .avail_out = (uInt)wanted.len + 1 };

    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK); /* 16: a gzip header, nothing else */
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, wanted.len);
    assert_int_equal(stream.avail_in, 0);
    assert_memory_equal(out, wanted.data, wanted.len);
    inflateEnd(&stream);
    free(out);
}

static void line_protocol_shrinks_to_a_fifth(void **state) {
    struct gzip *gzip = gzip_new();
    struct buf text = BUF_INIT(1 << 22), out = BUF_INIT(1 << 22);

    (void)state;
    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "climate,site=plant-7,line=a,device=d%03d temperature=%d.%d,humidity=%d %d000000000\n",
                   i % 500, 20 + i % 7, i % 10, 40 + i % 13, 1700000000 + i);
    assert_true(gzip_compress(gzip, buf_str(&text), &out));
    assert_true(out.len * 5 < text.len);
    inflates_to(buf_str(&out), buf_str(&text));
    buf_release(&text);
    buf_release(&out);
    gzip_free(gzip);
}

static void noise_grows_a_little(void **state) {
    struct gzip *gzip = gzip_new();
    struct buf text = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
    uint32_t seed = 1;

    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_append_char(&text, (char)((seed = seed * 1664525 + 1013904223) >> 24));
    for (int i = 0; i < 3; i++) { /* the compressor and the buffer are used again */
        assert_true(gzip_compress(gzip, buf_str(&text), &out));
        inflates_to(buf_str(&out), buf_str(&text));
    }
    buf_release(&text);
    buf_release(&out);
    gzip_free(gzip);
}

static void too_small_a_buffer_is_told(void **state) {
    struct gzip *gzip = gzip_new();
    struct buf out = BUF_INIT(16);

    (void)state;
    assert_false(gzip_compress(gzip, STR("this text does not fit into sixteen bytes, whatever one does"), &out));
    assert_int_equal(out.len, 0);
    buf_release(&out);
    gzip_free(gzip);
}

static void a_few_bytes_and_none(void **state) {
    struct gzip *gzip = gzip_new();
    struct buf out = BUF_INIT(4096);

    (void)state;
    assert_true(gzip_compress(gzip, STR("m"), &out));
    inflates_to(buf_str(&out), STR("m"));
    assert_true(gzip_compress(gzip, STR_EMPTY, &out));
    inflates_to(buf_str(&out), STR_EMPTY);
    buf_release(&out);
    gzip_free(gzip);
    gzip_free(NULL);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_protocol_shrinks_to_a_fifth),
        cmocka_unit_test(noise_grows_a_little),
        cmocka_unit_test(too_small_a_buffer_is_told),
        cmocka_unit_test(a_few_bytes_and_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
