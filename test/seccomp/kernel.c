/*
 * Runs syscalls under seccomp filters. Reads records from standard input, all little-endian:
 *
 *     u32 number of instructions, struct sock_filter[...]
 *     u32 number of calls, then for each: u32 entry (0: syscall, 1: int 0x80), u32 nr, u64 args[6]
 *
 * For a record without calls it tries to load the filter and writes "loaded" or "refused ERRNO". For each call it
 * loads the filter in a new process, makes the call, and writes "returned VALUE", "signal NUMBER" for a process killed
 * in the call, or "refused ERRNO". int 0x80 takes the low halves of the first five arguments.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct call {
        uint32_t entry, nr;
        uint64_t args[6];
};

enum { STARTED, REFUSED, LOADED, RETURNED };

struct report {
        volatile int state;
        volatile int error;
        volatile long value;
};

static struct sock_filter instructions[65535];

static void read_all(void *buffer, size_t size) {
        if (fread(buffer, 1, size, stdin) != size) {
                fprintf(stderr, "standard input ended within a record\n");
                exit(1);
        }
}

static long call_64(const struct call *call) {
        long result;
        register uint64_t r10 __asm__("r10") = call->args[3];
        register uint64_t r8 __asm__("r8") = call->args[4];
        register uint64_t r9 __asm__("r9") = call->args[5];

        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"((uint64_t)call->nr), "D"(call->args[0]), "S"(call->args[1]), "d"(call->args[2]),
                           "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        return result;
}

static long call_32(const struct call *call) {
        long result;

        __asm__ volatile("int $0x80"
                         : "=a"(result)
                         : "a"((uint64_t)call->nr), "b"((uint64_t)(uint32_t)call->args[0]),
                           "c"((uint64_t)(uint32_t)call->args[1]), "d"((uint64_t)(uint32_t)call->args[2]),
                           "S"((uint64_t)(uint32_t)call->args[3]), "D"((uint64_t)(uint32_t)call->args[4])
                         : "r8", "r9", "r10", "r11", "memory");
        return (int)result;
}

/* The filter applies to this process from the load on: nothing but the call may follow, not even an exit. */
static void child(struct report *report, const struct sock_fprog *program, const struct call *call) {
        const struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0) {
                report->error = errno;
                report->state = REFUSED;
                _exit(0);
        }
        report->state = LOADED;
        if (call != NULL) {
                report->value = call->entry == 0 ? call_64(call) : call_32(call);
                report->state = RETURNED;
        }
        __builtin_trap();
}

static int run(struct report *report, const struct sock_fprog *program, const struct call *call) {
        int status;
        pid_t pid;

        report->state = STARTED;
        pid = fork();
        if (pid < 0) {
                perror("fork");
                return -1;
        }
        if (pid == 0)
                child(report, program, call);
        if (waitpid(pid, &status, 0) < 0) {
                perror("waitpid");
                return -1;
        }
        if (report->state == REFUSED)
                printf("refused %d\n", report->error);
        else if (report->state == RETURNED)
                printf("returned %ld\n", report->value);
        else if (call == NULL)
                printf("loaded\n");
        else
                printf("signal %d\n", WTERMSIG(status));
        fflush(stdout);
        return 0;
}

int main(void) {
        uint32_t count, calls, i;
        struct report *report =
                mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (report == MAP_FAILED) {
                perror("mmap");
                return 1;
        }
        while (fread(&count, sizeof(count), 1, stdin) == 1) {
                struct sock_fprog program = {.len = (unsigned short)count, .filter = instructions};

                if (count > 65535)
                        return 1;
                read_all(instructions, count * sizeof(struct sock_filter));
                read_all(&calls, sizeof(calls));
                if (calls == 0 && run(report, &program, NULL) < 0)
                        return 1;
                for (i = 0; i < calls; i++) {
                        struct call call;

                        read_all(&call, sizeof(call));
                        if (run(report, &program, &call) < 0)
                                return 1;
                }
        }
        return 0;
}
