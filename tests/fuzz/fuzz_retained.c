/*
 * tests/fuzz/fuzz_retained.c: the bytes are retained messages that come, go and expire under walks that are left and taken up again, beside a
 * plain list (retained_model.h).
 */
#include "tests/support/retained_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct retained_model model;

    if (size > 65536) /* as many can be met by one walk as the model has room for */
        return 0;
    retained_model_run(&model, (struct words){ data, data + size });
    return 0;
}
