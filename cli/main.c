/*
 * main.c - from argv to a command to an exit status.
 */
#include "arguments.h"
#include "cli.h"
#include "output.h"
#include "report.h"
#include "session.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &cli_command_put,    &cli_command_get,      &cli_command_exists,
    &cli_command_ls,     &cli_command_rm,       &cli_command_stat,
    &cli_command_config, &cli_command_backends, &cli_command_evict,
    &cli_command_verify, &cli_command_replay,   NULL,
};

static const char help_options[] =
    "\n"
    "  --path DIR       directory of the store\n"
    "  --backend NAME, --fs NAME   layout and adapter; 'kvtier backends' lists "
    "them\n"
    "  -o KEY=VALUE     any setting; 'kvtier config' lists them; repeatable\n"
    "  --config FILE    settings from an INI file; the environment wins over "
    "it\n"
    "  --hex, --json    keys as hex digits; results and errors as JSON\n"
    "  --read-only      never change the store\n"
    "  --stats FILE     write what 'stat --json' shows to FILE at the end\n"
    "  --help           of the program or of a command; also --version\n"
    "Exit status: 0 done, 1 failed, 2 usage, 3 some objects failed.\n";

static void help_print(struct cli *cli)
{
    if (cli->command != NULL) {
        cli_out(cli, "%s", cli->command->help);
        return;
    }
    cli_out(cli, "Usage: kvtier [OPTIONS] COMMAND [OPTIONS] [ARGS]\n"
                 "Moves KV-cache blocks of LLMs to storage and back.\n\n");
    for (size_t i = 0; commands[i] != NULL; i++) {
        cli_out(cli, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    }
    cli_out(cli, "%s", help_options);
}

/* A file of the store must never get the number of a standard stream that
 * the caller closed. */
static int streams_secure(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd <= 2; fd++) {
        /* of the wrong mode: using the stream still fails */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) {
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (streams_secure() != 0) {
        return CLI_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);

    struct cli cli = {0};
    int status = cli_arguments_parse(&cli, commands, argc, argv);
    if (status == CLI_DONE && cli.help) {
        help_print(&cli);
    } else if (status == CLI_DONE && cli.version) {
        cli_out(&cli, "kvtier %s\n", kvt_version());
    } else if (status == CLI_DONE) {
        status = cli.command->run(&cli);
    }
    status = cli_session_end(&cli, status);
    status = cli_out_end(&cli, status);
    cli_arguments_free(&cli);
    return status;
}
