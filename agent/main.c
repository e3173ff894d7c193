/* agent/main.c: flags and exit code. */
int main(void) {
    return 0;
}
