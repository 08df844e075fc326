// SPDX-License-Identifier: Apache-2.0
// Process 1 of a sandbox node: reaps orphans and keeps services running.
//
//   sandbox-init SERVICES_DIR LOG_DIR
//
// Every executable file NAME of SERVICES_DIR is a service: it is run, its output goes to LOG_DIR/NAME.log, and
// it is run again when it ends (after 200 ms at first, at most 5 s). Files that appear are started, files
// that disappear are stopped. SIGTERM stops everything.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { max_services = 32, max_name = 64, first_delay_ms = 200, last_delay_ms = 5000, stable_ms = 10000 };

struct service {
	char name[max_name];
	pid_t pid;
	long long started_ms, start_at_ms;
	long delay_ms;
	int present;
};

static struct service services[max_services];
static const char *services_dir, *log_dir;
static volatile sig_atomic_t stopping;

static void on_term(int sig) {
	(void)sig;
	stopping = 1;
}

static void on_child(int sig) {
	(void)sig; // only interrupts the sleep
}

static long long now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void start(struct service *service) {
	char program[4096], log[4096];
	snprintf(program, sizeof(program), "%s/%s", services_dir, service->name);
	snprintf(log, sizeof(log), "%s/%s.log", log_dir, service->name);
	service->started_ms = now_ms();
	service->pid = fork();
	if (service->pid != 0)
		return;
	signal(SIGTERM, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	setsid();
	int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (in >= 0)
		dup2(in, 0);
	if (out >= 0) {
		dup2(out, 1);
		dup2(out, 2);
	}
	execl(program, program, (char *)0);
	dprintf(2, "sandbox-init: cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

static void scan(void) {
	DIR *dir = opendir(services_dir);
	if (!dir)
		return;
	for (int i = 0; i < max_services; i++)
		services[i].present = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[4096];
		struct stat info;
		snprintf(path, sizeof(path), "%s/%s", services_dir, entry->d_name);
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= max_name || stat(path, &info) != 0 ||
		    !S_ISREG(info.st_mode) || !(info.st_mode & 0100))
			continue;
		struct service *found = 0, *empty = 0;
		for (int i = 0; i < max_services && !found; i++) {
			if (strcmp(services[i].name, entry->d_name) == 0)
				found = &services[i];
			else if (!services[i].name[0] && !empty)
				empty = &services[i];
		}
		if (!found && empty) {
			found = empty;
			strcpy(found->name, entry->d_name);
			found->delay_ms = first_delay_ms;
		}
		if (found)
			found->present = 1;
	}
	closedir(dir);
}

static void reap(void) {
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		for (int i = 0; i < max_services; i++) {
			struct service *service = &services[i];
			if (service->pid != pid)
				continue;
			service->pid = 0;
			if (now_ms() - service->started_ms > stable_ms)
				service->delay_ms = first_delay_ms;
			service->start_at_ms = now_ms() + service->delay_ms;
			service->delay_ms = service->delay_ms * 2 > last_delay_ms ? last_delay_ms : service->delay_ms * 2;
		}
	}
}

static void stop_all(void) {
	for (int i = 0; i < max_services; i++)
		if (services[i].pid > 0)
			kill(-services[i].pid, SIGTERM);
	long long deadline = now_ms() + 2000;
	struct timespec tick = {.tv_nsec = 20000000};
	while (now_ms() < deadline && (waitpid(-1, 0, WNOHANG) >= 0 || errno == EINTR))
		nanosleep(&tick, 0);
	kill(-1, SIGKILL);
}

int main(int argc, char **argv) {
	if (argc != 3) {
		fprintf(stderr, "usage: sandbox-init SERVICES_DIR LOG_DIR\n");
		return 2;
	}
	services_dir = argv[1];
	log_dir = argv[2];
	struct sigaction term = {.sa_handler = on_term}, child = {.sa_handler = on_child};
	sigaction(SIGTERM, &term, 0);
	sigaction(SIGINT, &term, 0);
	sigaction(SIGCHLD, &child, 0);
	while (!stopping) {
		reap();
		scan();
		for (int i = 0; i < max_services; i++) {
			struct service *service = &services[i];
			if (!service->present && service->pid > 0)
				kill(-service->pid, SIGTERM);
			if (!service->present && service->pid == 0)
				memset(service, 0, sizeof(*service));
			if (service->present && service->pid == 0 && now_ms() >= service->start_at_ms)
				start(service);
		}
		struct timespec tick = {.tv_nsec = 100000000};
		nanosleep(&tick, 0);
	}
	stop_all();
	return 0;
}
