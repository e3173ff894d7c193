/*
 * tests/support/certificates.h: throw-away certificates for tests in C: authorities, certificates with subjects as odd as a
 * test wants them, revocation lists. PEM files in a directory of their own. Whatever fails ends the test program.
 */
#ifndef HELIOGRAF_TESTS_CERTIFICATES_H
#define HELIOGRAF_TESTS_CERTIFICATES_H

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CERTIFICATE_PATH_MAX 96

struct certificates {
    char directory[64];
    long serial;
};

/* A certificate with its key, in memory and as files. */
struct certificate {
    X509 *x509;
    EVP_PKEY *key;
    char path[CERTIFICATE_PATH_MAX], key_path[CERTIFICATE_PATH_MAX];
};

/* One part of a subject; `len` 0: text ends with a NUL. */
struct subject_part {
    const char *field, *text;
    int len;
    int type; /* MBSTRING_UTF8 when 0; V_ASN1_... stores the bytes as they are */
};

struct certificate_wish {
    const char *file; /* name within the directory, without the end */
    const struct subject_part *subject;
    size_t parts;
    const struct certificate *issuer;  /* NULL: self-signed */
    const struct certificate *chain;   /* put behind it in the file */
    long from_s, until_s;              /* from now; both 0: an hour ago until in 30 days */
    int authority;
    const char *usage;                 /* extended key usage: "serverAuth" */
};

#define certificates_need(condition)                                                                                   \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            ERR_print_errors_fp(stderr);                                                                               \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline void certificates_init(struct certificates *all) {
    snprintf(all->directory, sizeof all->directory, "/tmp/heliograf-certificates-XXXXXX");
    certificates_need(mkdtemp(all->directory) != NULL);
    all->serial = 1;
}

/* Also what tests have put there. */
static inline void certificates_release(struct certificates *all) {
    DIR *directory = opendir(all->directory);
    char path[400];

    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", all->directory, entry->d_name);
        unlink(path);
    }
    if (directory != NULL)
        closedir(directory);
    rmdir(all->directory);
}

static inline const char *certificates_path(const struct certificates *all, const char *name, char out[CERTIFICATE_PATH_MAX]) {
    snprintf(out, CERTIFICATE_PATH_MAX, "%s/%s", all->directory, name);
    return out;
}

static inline void certificates_write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");

    certificates_need(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static inline void certificate_extend(X509 *x509, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    certificates_need(extension != NULL && X509_add_ext(x509, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static inline void certificate_save(const struct certificate *certificate, const struct certificate *chain, const char *password) {
    FILE *file = fopen(certificate->path, "w");

    certificates_need(file != NULL && PEM_write_X509(file, certificate->x509) == 1);
    certificates_need(chain == NULL || PEM_write_X509(file, chain->x509) == 1);
    fclose(file);
    file = fopen(certificate->key_path, "w");
    certificates_need(file != NULL);
    certificates_need(PEM_write_PrivateKey(file, certificate->key, password != NULL ? EVP_aes_256_cbc() : NULL,
                                           (const unsigned char *)password, password != NULL ? (int)strlen(password) : 0, NULL,
                                           NULL) == 1);
    fclose(file);
    chmod(certificate->key_path, 0600);
}

static inline struct certificate certificate_make(struct certificates *all, const struct certificate_wish *wish) {
    struct certificate made = { X509_new(), EVP_EC_gen("P-256"), "", "" };
    const struct certificate *issuer = wish->issuer != NULL ? wish->issuer : &made;
    long from = wish->from_s, until = wish->until_s;
    X509_NAME *name;

    certificates_need(made.x509 != NULL && made.key != NULL);
    if (from == 0 && until == 0) {
        from = -3600;
        until = 30 * 86400;
    }
    snprintf(made.path, sizeof made.path, "%s/%s.crt", all->directory, wish->file);
    snprintf(made.key_path, sizeof made.key_path, "%s/%s.key", all->directory, wish->file);
    X509_set_version(made.x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.x509), all->serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.x509), from);
    X509_gmtime_adj(X509_getm_notAfter(made.x509), until);
    X509_set_pubkey(made.x509, made.key);
    name = X509_get_subject_name(made.x509);
    for (size_t i = 0; i < wish->parts; i++) {
        const struct subject_part *part = &wish->subject[i];
        certificates_need(X509_NAME_add_entry_by_txt(name, part->field, part->type != 0 ? part->type : MBSTRING_UTF8,
                                                     (const unsigned char *)part->text, part->len > 0 ? part->len : -1, -1, 0) == 1);
    }
    X509_set_issuer_name(made.x509, X509_get_subject_name(issuer->x509));
    certificate_extend(made.x509, issuer->x509, NID_basic_constraints, wish->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    certificate_extend(made.x509, issuer->x509, NID_subject_key_identifier, "hash");
    if (wish->authority)
        certificate_extend(made.x509, issuer->x509, NID_key_usage, "critical,keyCertSign,cRLSign");
    else
        certificate_extend(made.x509, issuer->x509, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    if (wish->usage != NULL)
        certificate_extend(made.x509, issuer->x509, NID_ext_key_usage, wish->usage);
    certificates_need(X509_sign(made.x509, issuer->key, EVP_sha256()) > 0);
    certificate_save(&made, wish->chain, NULL);
    return made;
}

/* The usual: a common name, the same as the file's. */
static inline struct certificate certificate_named(struct certificates *all, const char *name, const struct certificate *issuer,
                                                   int authority) {
    const struct subject_part subject = { "CN", name, 0, 0 };
    const struct certificate_wish wish = { .file = name, .subject = &subject, .parts = 1, .issuer = issuer, .authority = authority };

    return certificate_make(all, &wish);
}

static inline void certificate_release(struct certificate *certificate) {
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
}

/* A revocation list of `issuer` with one certificate in it, or none; good for so many seconds from now. */
static inline void certificate_list(const struct certificate *issuer, const struct certificate *revoked, long until_s, const char *path) {
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    X509_REVOKED *entry;
    FILE *file = fopen(path, "w");

    certificates_need(list != NULL && time != NULL && file != NULL);
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->x509));
    X509_gmtime_adj(time, -7200);
    X509_CRL_set1_lastUpdate(list, time);
    if (revoked != NULL) {
        entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->x509));
        X509_REVOKED_set_revocationDate(entry, time);
        X509_CRL_add0_revoked(list, entry);
    }
    X509_gmtime_adj(time, until_s);
    X509_CRL_set1_nextUpdate(list, time);
    certificates_need(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
    certificates_need(PEM_write_X509_CRL(file, list) == 1);
    fclose(file);
    X509_CRL_free(list);
    ASN1_TIME_free(time);
}

#endif
