/*
 * A CMP CA that signs what it is asked for, made of OpenSSL's own CMP server library (OSSL_CMP_SRV_CTX). Transactions, protection, proof of
 * possession and the messages are OpenSSL's; what is here is the part that it leaves to an application: HTTP, and a CA.
 *
 *     cmp_ca PORT DIR [noimplicit] [noraverified] [repeats] [wait=SECONDS]
 *
 * DIR holds ca.pem and ca.key (the issuer), root.pem, cmp.pem and cmp.key (what protects answers by signature) and secret (one line: the
 * shared secret). A request by shared secret is answered so, and one by signature too.
 *
 * What the common name begins with decides: "refuse" is rejected, "wait" waits (also with wait=), "mods" is granted with modifications,
 * "wrongkey" and "wrongname" get what was not asked for. With repeats, the same transaction gets the same certificate again, also after a
 * restart. Every event is a line on standard output; what was issued lies in DIR/issued. GET /crl gives the CRL.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/cmp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { MOST_TRANSACTIONS = 4096, MOST_BYTES = 1 << 20, DAYS = 90, CHECK_AFTER = 1 };

struct transaction {
    ASN1_OCTET_STRING *id;
    OSSL_CMP_SRV_CTX *server;
    OSSL_CMP_MSG *waiting; /* the request, until it is time to answer it */
    time_t ready;
    X509 *issued;
};

static struct transaction transactions[MOST_TRANSACTIONS];
static int count;
static char directory[512], secret[256];
static X509 *ca, *root, *own;
static EVP_PKEY *ca_key, *own_key;
static STACK_OF(X509_REVOKED) *revoked;
static int implicit = 1, raverified = 1, repeats, patience;

static void say(const char *what, const char *which) {
    printf("%s %s\n", what, which ? which : "");
    fflush(stdout);
}

static void die(const char *what) {
    fprintf(stderr, "cmp_ca: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(2);
}

static FILE *opened(const char *name, const char *how) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, how);
    if (!file)
        die(path);
    return file;
}

static X509 *certificate(const char *name) {
    FILE *file = opened(name, "r");
    X509 *one = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (!one)
        die(name);
    return one;
}

static EVP_PKEY *key(const char *name) {
    FILE *file = opened(name, "r");
    EVP_PKEY *one = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    if (!one)
        die(name);
    return one;
}

/* ML-DSA, SLH-DSA and the Edwards curves sign the message itself. */
static const EVP_MD *digest_for(EVP_PKEY *signer) {
    int nid;
    if (EVP_PKEY_get_default_digest_nid(signer, &nid) > 0 && nid != NID_undef)
        return EVP_get_digestbynid(nid);
    return NULL;
}

static void common_name(const X509_NAME *subject, char *out, size_t size) {
    if (!subject || X509_NAME_get_text_by_NID((X509_NAME *)subject, NID_commonName, out, (int)size) < 0)
        snprintf(out, size, "-");
}

static int begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static char *serial_text(const ASN1_INTEGER *serial) {
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *text = BN_bn2hex(number);
    BN_free(number);
    return text;
}

static void extend(X509 *one, int nid, const char *value) {
    X509V3_CTX context;
    if (X509_get_ext_by_NID(one, nid, -1) >= 0)
        return;
    X509V3_set_ctx(&context, ca, one, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, (char *)value);
    if (!extension || !X509_add_ext(one, extension, -1))
        die("an extension");
    X509_EXTENSION_free(extension);
}

static void keep(const char *name, X509 *one) {
    FILE *file = opened(name, "w");
    PEM_write_X509(file, one);
    fclose(file);
}

/* Where the certificate of a transaction lies. */
static void name_of(const struct transaction *here, char *out, size_t size) {
    char *id = OPENSSL_buf2hexstr(ASN1_STRING_get0_data(here->id), ASN1_STRING_length(here->id));
    for (char *one = id; *one; one++)
        if (*one == ':')
            *one = '-';
    snprintf(out, size, "issued/of-%s.pem", id);
    OPENSSL_free(id);
}

/* What an earlier process gave in this transaction. */
static X509 *remembered(const struct transaction *here) {
    char name[256], path[1024];
    name_of(here, name, sizeof name);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, R_OK) ? NULL : certificate(name);
}

/* The certificate for this name and key, with the extensions that were asked for and those that every certificate has. */
static X509 *issue(const X509_NAME *subject, EVP_PKEY *public_key, const STACK_OF(X509_EXTENSION) *wanted) {
    unsigned char number[16];
    X509 *one = X509_new();
    RAND_bytes(number, sizeof number);
    number[0] &= 0x7f;
    number[0] |= 0x40;
    BIGNUM *big = BN_bin2bn(number, sizeof number, NULL);
    X509_set_version(one, X509_VERSION_3);
    BN_to_ASN1_INTEGER(big, X509_get_serialNumber(one));
    BN_free(big);
    X509_set_issuer_name(one, X509_get_subject_name(ca));
    X509_set_subject_name(one, (X509_NAME *)subject);
    X509_gmtime_adj(X509_getm_notBefore(one), -60);
    X509_time_adj_ex(X509_getm_notAfter(one), DAYS, 0, NULL);
    X509_set_pubkey(one, public_key);
    for (int i = 0; i < sk_X509_EXTENSION_num(wanted); i++)
        X509_add_ext(one, sk_X509_EXTENSION_value(wanted, i), -1);
    extend(one, NID_basic_constraints, "critical,CA:FALSE");
    extend(one, NID_key_usage, "critical,digitalSignature");
    extend(one, NID_subject_key_identifier, "hash");
    extend(one, NID_authority_key_identifier, "keyid");
    if (!X509_sign(one, ca_key, digest_for(ca_key)))
        die("signing");
    char *serial = serial_text(X509_get0_serialNumber(one)), name[128];
    snprintf(name, sizeof name, "issued/%s.pem", serial);
    keep(name, one);
    OPENSSL_free(serial);
    return one;
}

static OSSL_CMP_PKISI *on_request(
    OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *message, int number, const OSSL_CRMF_MSG *crmf, const X509_REQ *pkcs10, X509 **out,
    STACK_OF(X509) **chain, STACK_OF(X509) **anchors
) {
    struct transaction *here = OSSL_CMP_SRV_CTX_get0_custom_ctx(server);
    char name[128], line[192];
    (void)number;
    const X509_NAME *subject;
    EVP_PKEY *public_key;
    STACK_OF(X509_EXTENSION) *wanted = NULL;
    if (pkcs10) {
        subject = X509_REQ_get_subject_name(pkcs10);
        public_key = X509_REQ_get_pubkey((X509_REQ *)pkcs10);
        wanted = X509_REQ_get_extensions((X509_REQ *)pkcs10);
    } else {
        const OSSL_CRMF_CERTTEMPLATE *asked = OSSL_CRMF_MSG_get0_tmpl(crmf);
        subject = OSSL_CRMF_CERTTEMPLATE_get0_subject(asked);
        public_key = X509_PUBKEY_get((X509_PUBKEY *)OSSL_CRMF_CERTTEMPLATE_get0_publicKey(asked));
        const X509_EXTENSIONS *given = OSSL_CRMF_CERTTEMPLATE_get0_extensions(asked);
        wanted = given ? sk_X509_EXTENSION_deep_copy(given, X509_EXTENSION_dup, X509_EXTENSION_free) : NULL;
    }
    common_name(subject, name, sizeof name);
    snprintf(line, sizeof line, "%s %s", pkcs10 ? "p10cr" : OSSL_CMP_MSG_get_bodytype(message) == OSSL_CMP_IR ? "ir" : "cr", name);
    say("asked", line);
    if (repeats && !here->issued)
        here->issued = remembered(here);
    OSSL_CMP_PKISI *status = NULL;
    if (!subject || !public_key) {
        status = OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << OSSL_CMP_PKIFAILUREINFO_badCertTemplate, "no subject or key");
    } else if (begins(name, "refuse")) {
        say("refused", name);
        status = OSSL_CMP_STATUSINFO_new(
            OSSL_CMP_PKISTATUS_rejection, 1 << OSSL_CMP_PKIFAILUREINFO_badCertTemplate, "this name is not for you"
        );
    } else if (!here->ready && (patience || begins(name, "wait"))) {
        say("waiting", name);
        here->waiting = OSSL_CMP_MSG_dup(message);
        here->ready = time(NULL) + (patience ? patience : 3);
        status = OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0, "somebody has to look at this");
    } else if (repeats && here->issued && EVP_PKEY_eq(X509_get0_pubkey(here->issued), public_key) == 1) {
        say("repeated", name);
        *out = X509_dup(here->issued);
        status = OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
    } else {
        X509_NAME *other = NULL;
        if (begins(name, "mods") || begins(name, "wrongname")) {
            other = X509_NAME_new();
            X509_NAME_add_entry_by_txt(other, "O", MBSTRING_UTF8, (const unsigned char *)"Modified", -1, -1, 0);
            const char *common = begins(name, "mods") ? name : "somebody-else";
            X509_NAME_add_entry_by_txt(other, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0);
        }
        *out = issue(other ? other : subject, begins(name, "wrongkey") ? ca_key : public_key, wanted);
        X509_NAME_free(other);
        *chain = sk_X509_new_null();
        X509_add_cert(*chain, ca, X509_ADD_FLAG_UP_REF);
        if (OSSL_CMP_MSG_get_bodytype(message) == OSSL_CMP_IR) {
            *anchors = sk_X509_new_null();
            X509_add_cert(*anchors, root, X509_ADD_FLAG_UP_REF);
        }
        X509_free(here->issued);
        here->issued = X509_dup(*out);
        if (repeats) {
            char kept[256];
            name_of(here, kept, sizeof kept);
            keep(kept, *out);
        }
        char *serial = serial_text(X509_get0_serialNumber(*out));
        snprintf(line, sizeof line, "%s %s", serial, name);
        OPENSSL_free(serial);
        say("issued", line);
        status = OSSL_CMP_STATUSINFO_new(
            begins(name, "mods") ? OSSL_CMP_PKISTATUS_grantedWithMods : OSSL_CMP_PKISTATUS_accepted, 0, NULL
        );
    }
    sk_X509_EXTENSION_pop_free(wanted, X509_EXTENSION_free);
    EVP_PKEY_free(public_key);
    return status;
}

static int on_poll(OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *message, int number, OSSL_CMP_MSG **request, int64_t *after) {
    struct transaction *here = OSSL_CMP_SRV_CTX_get0_custom_ctx(server);
    (void)message, (void)number;
    *request = NULL;
    *after = CHECK_AFTER;
    say("polled", NULL);
    if (here->waiting && time(NULL) >= here->ready) {
        *request = here->waiting;
        here->waiting = NULL;
    }
    return 1;
}

/* The hash is of the certificate; which one it is, its length tells. */
static int on_confirmation(
    OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *message, int number, const ASN1_OCTET_STRING *hash, const OSSL_CMP_PKISI *status
) {
    struct transaction *here = OSSL_CMP_SRV_CTX_get0_custom_ctx(server);
    const EVP_MD *kinds[] = {EVP_sha256(), EVP_sha384(), EVP_sha512(), EVP_sha3_512(), EVP_sha1()};
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned int length;
    (void)message, (void)number, (void)status;
    for (size_t i = 0; here->issued && i < sizeof kinds / sizeof *kinds; i++)
        if (X509_digest(here->issued, kinds[i], value, &length) && (int)length == ASN1_STRING_length(hash)
            && memcmp(value, ASN1_STRING_get0_data(hash), length) == 0) {
            say("confirmed", EVP_MD_get0_name(kinds[i]));
            return 1;
        }
    say("unmatched", NULL);
    ERR_raise(ERR_LIB_CMP, CMP_R_CERTHASH_UNMATCHED);
    return 0;
}

static OSSL_CMP_PKISI *on_revocation(
    OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *message, const X509_NAME *issuer, const ASN1_INTEGER *serial
) {
    (void)server, (void)message;
    if (!issuer || !serial || X509_NAME_cmp(issuer, X509_get_subject_name(ca)) != 0)
        return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << OSSL_CMP_PKIFAILUREINFO_badCertId, "not of this CA");
    char *text = serial_text(serial), path[1024];
    snprintf(path, sizeof path, "%s/issued/%s.pem", directory, text);
    OSSL_CMP_PKISI *status;
    for (int i = 0; i < sk_X509_REVOKED_num(revoked); i++)
        if (ASN1_INTEGER_cmp(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i)), serial) == 0) {
            OPENSSL_free(text);
            return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << OSSL_CMP_PKIFAILUREINFO_certRevoked, "revoked already");
        }
    if (access(path, R_OK) != 0) {
        status = OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection, 1 << OSSL_CMP_PKIFAILUREINFO_badCertId, "not issued here");
    } else {
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
        X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)serial);
        X509_REVOKED_set_revocationDate(entry, now);
        ASN1_TIME_free(now);
        sk_X509_REVOKED_push(revoked, entry);
        say("revoked", text);
        status = OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL);
    }
    OPENSSL_free(text);
    return status;
}

static X509_CRL *crl(void) {
    X509_CRL *one = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0), *next = X509_gmtime_adj(NULL, 86400);
    X509_CRL_set_version(one, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(one, X509_get_subject_name(ca));
    X509_CRL_set1_lastUpdate(one, now);
    X509_CRL_set1_nextUpdate(one, next);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    for (int i = 0; i < sk_X509_REVOKED_num(revoked); i++)
        X509_CRL_add0_revoked(one, X509_REVOKED_dup(sk_X509_REVOKED_value(revoked, i)));
    X509V3_CTX context;
    X509V3_set_ctx(&context, ca, NULL, NULL, one, 0);
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_INTEGER_set_int64(number, time(NULL));
    X509_CRL_add1_ext_i2d(one, NID_crl_number, number, 0, 0);
    ASN1_INTEGER_free(number);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid");
    X509_CRL_add_ext(one, extension, -1);
    X509_EXTENSION_free(extension);
    X509_CRL_sort(one);
    if (!X509_CRL_sign(one, ca_key, digest_for(ca_key)))
        die("signing a CRL");
    return one;
}

static int on_general(
    OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *message, const STACK_OF(OSSL_CMP_ITAV) *in, STACK_OF(OSSL_CMP_ITAV) **out
) {
    (void)server, (void)message;
    *out = sk_OSSL_CMP_ITAV_new_null();
    for (int i = 0; i < sk_OSSL_CMP_ITAV_num(in); i++) {
        int type = OBJ_obj2nid(OSSL_CMP_ITAV_get0_type(sk_OSSL_CMP_ITAV_value(in, i)));
        OSSL_CMP_ITAV *answer = NULL;
        say("general", OBJ_nid2sn(type));
        if (type == NID_id_it_caCerts) {
            STACK_OF(X509) *all = sk_X509_new_null();
            sk_X509_push(all, ca);
            sk_X509_push(all, root);
            answer = OSSL_CMP_ITAV_new_caCerts(all);
            sk_X509_free(all);
        } else if (type == NID_id_it_crlStatusList || type == NID_id_it_crls) {
            X509_CRL *one = crl();
            answer = OSSL_CMP_ITAV_new_crls(one);
            X509_CRL_free(one);
        }
        if (answer)
            sk_OSSL_CMP_ITAV_push(*out, answer);
    }
    return 1;
}

static void on_error(
    OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *message, const OSSL_CMP_PKISI *status, const ASN1_INTEGER *code,
    const OSSL_CMP_PKIFREETEXT *details
) {
    (void)server, (void)message, (void)status, (void)code, (void)details;
    say("error", "from the client");
}

/* OpenSSL's context knows one transaction at a time, so each has one of its own. */
static struct transaction *transaction(const OSSL_CMP_MSG *message) {
    ASN1_OCTET_STRING *id = OSSL_CMP_HDR_get0_transactionID(OSSL_CMP_MSG_get0_header(message));
    for (int i = 0; id && i < count; i++)
        if (ASN1_OCTET_STRING_cmp(transactions[i].id, id) == 0)
            return &transactions[i];
    if (count == MOST_TRANSACTIONS)
        die("too many transactions");
    struct transaction *here = &transactions[count++];
    here->id = id ? ASN1_OCTET_STRING_dup(id) : ASN1_OCTET_STRING_new();
    here->server = OSSL_CMP_SRV_CTX_new(NULL, NULL);
    OSSL_CMP_CTX *context = OSSL_CMP_SRV_CTX_get0_cmp_ctx(here->server);
    OSSL_CMP_SRV_CTX_init(here->server, here, on_request, on_revocation, on_general, on_error, on_confirmation, on_poll);
    OSSL_CMP_SRV_CTX_set_accept_raverified(here->server, raverified);
    OSSL_CMP_SRV_CTX_set_grant_implicit_confirm(here->server, implicit);
    OSSL_CMP_CTX_set1_secretValue(context, (const unsigned char *)secret, (int)strlen(secret));
    OSSL_CMP_CTX_set1_cert(context, own);
    OSSL_CMP_CTX_set1_pkey(context, own_key);
    X509_STORE *trusted = X509_STORE_new();
    X509_STORE_add_cert(trusted, root);
    OSSL_CMP_CTX_set0_trusted(context, trusted);
    STACK_OF(X509) *between = sk_X509_new_null();
    sk_X509_push(between, ca);
    OSSL_CMP_CTX_set1_untrusted(context, between);
    sk_X509_free(between);
    OSSL_CMP_CTX_set_log_verbosity(context, OSSL_CMP_LOG_WARNING);
    return here;
}

static void answer(int client, const char *status, const char *type, const unsigned char *body, int length) {
    char head[256];
    int size = snprintf(
        head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", status, type, length
    );
    if (write(client, head, (size_t)size) == size)
        for (int done = 0, step; done < length && (step = (int)write(client, body + done, (size_t)(length - done))) > 0;)
            done += step;
}

static void serve(int client) {
    static unsigned char buffer[MOST_BYTES];
    int have = 0, head = 0;
    long wanted = -1;
    while (have < MOST_BYTES - 1) {
        int step = (int)read(client, buffer + have, (size_t)(MOST_BYTES - 1 - have));
        if (step <= 0)
            return;
        have += step;
        buffer[have] = 0;
        if (!head) {
            char *end = strstr((char *)buffer, "\r\n\r\n");
            if (!end)
                continue;
            head = (int)(end - (char *)buffer) + 4;
            wanted = 0;
            for (char *line = (char *)buffer; line < end; line = strstr(line, "\r\n") + 2)
                if (strncasecmp(line, "Content-Length:", 15) == 0)
                    wanted = atol(line + 15);
        }
        if (have - head >= wanted)
            break;
    }
    unsigned char *der = NULL;
    if (begins((char *)buffer, "GET /crl")) {
        X509_CRL *one = crl();
        int length = i2d_X509_CRL(one, &der);
        answer(client, "200 OK", "application/pkix-crl", der, length);
        X509_CRL_free(one);
        OPENSSL_free(der);
        return;
    }
    const unsigned char *at = buffer + head;
    OSSL_CMP_MSG *message = begins((char *)buffer, "POST ") ? d2i_OSSL_CMP_MSG(NULL, &at, wanted) : NULL;
    if (!message) {
        answer(client, "400 Bad Request", "text/plain", (const unsigned char *)"no CMP message\n", 15);
        return;
    }
    OSSL_CMP_MSG *reply = OSSL_CMP_SRV_process_request(transaction(message)->server, message);
    int length = reply ? i2d_OSSL_CMP_MSG(reply, &der) : -1;
    if (length > 0)
        answer(client, "200 OK", "application/pkixcmp", der, length);
    else
        answer(client, "500 Internal Server Error", "text/plain", (const unsigned char *)"no answer\n", 10);
    ERR_clear_error();
    OPENSSL_free(der);
    OSSL_CMP_MSG_free(reply);
    OSSL_CMP_MSG_free(message);
}

int main(int words, char **word) {
    if (words < 3)
        return 2;
    snprintf(directory, sizeof directory, "%s", word[2]);
    for (int i = 3; i < words; i++) {
        implicit = implicit && strcmp(word[i], "noimplicit") != 0;
        raverified = raverified && strcmp(word[i], "noraverified") != 0;
        repeats = repeats || strcmp(word[i], "repeats") == 0;
        if (begins(word[i], "wait="))
            patience = atoi(word[i] + 5);
    }
    signal(SIGPIPE, SIG_IGN);
    ca = certificate("ca.pem"), ca_key = key("ca.key"), root = certificate("root.pem");
    own = certificate("cmp.pem"), own_key = key("cmp.key");
    revoked = sk_X509_REVOKED_new_null();
    FILE *file = opened("secret", "r");
    if (!fgets(secret, sizeof secret, file))
        die("secret");
    secret[strcspn(secret, "\r\n")] = 0;
    fclose(file);
    char issued[1024];
    snprintf(issued, sizeof issued, "%s/issued", directory);
    mkdir(issued, 0700);
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(word[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, 128))
        die("listening");
    say("listening", word[1]);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        struct timeval longest = {.tv_sec = 5};
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
        serve(client);
        close(client);
    }
}
