"""`heliograf passwd`: what it writes a real Mosquitto takes, what it cannot do it says, and it never leaves half a file."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import threading
import time
import unittest

from tests.support import settings
from tests.support.heliograf import SANITIZER_ENV, command
from tests.support.process import clean_environment
from tests.support.scenario import Scenario


def let_in(broker, user, password):
    """Whether the Mosquitto takes this user and password."""
    done = subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-u", user, "-P", password, "-t", "t", "-m", "x",
                           "-q", "1"], capture_output=True, text=True, timeout=20)
    if done.returncode not in (0, 5):
        raise AssertionError(f"{done.returncode}: {done.stderr}")
    return done.returncode == 0


class Passwd(Scenario):
    def setUp(self):
        super().setUp()
        self.path = self.directory / "passwords"

    def passwd(self, *arguments, code=0, stdin=None):
        done = command("passwd", *arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        self.assertEqual(done.stdout, "")
        if code != 0:
            self.assertIn("heliograf passwd: ", done.stderr)
        return done.stderr

    def lines(self):
        return self.path.read_text().splitlines()

    def nothing_beside(self):
        """No temporary file is left."""
        return [entry.name for entry in self.directory.iterdir()] == [self.path.name]

    # --- with Mosquitto ---

    def test_a_real_mosquitto_takes_the_file(self):
        self.passwd("-c", "-b", self.path, "joe", "s3:cr$et word")
        self.passwd("-b", "-H", "sha512", self.path, "ann", "annpass")
        self.passwd("-I", "5000", self.path, "händ joe", stdin="pässword\nsecond line\n")
        self.passwd("-b", "-I", "1", self.path, "one", "x")
        broker = self.mosquitto(anonymous=False, options=[f"password_file {self.path}"])
        for user, password in (("joe", "s3:cr$et word"), ("ann", "annpass"), ("händ joe", "pässword"), ("one", "x")):
            with self.subTest(user=user):
                self.assertTrue(let_in(broker, user, password))
                self.assertFalse(let_in(broker, user, password + "x"))
        self.assertFalse(let_in(broker, "eve", "x"))

    def test_both_programs_edit_one_file(self):
        subprocess.run(["mosquitto_passwd", "-c", "-b", self.path, "joe", "one"], check=True)
        self.path.chmod(0o600)
        self.passwd("-b", self.path, "ann", "two")
        subprocess.run(["mosquitto_passwd", "-b", self.path, "bob", "three"], check=True)
        self.passwd("-b", self.path, "joe", "four")
        subprocess.run(["mosquitto_passwd", "-b", self.path, "ann", "five"], check=True)
        self.assertEqual([line.split(":")[0] for line in self.lines()], ["joe", "ann", "bob"])
        broker = self.mosquitto(anonymous=False, options=[f"password_file {self.path}"])
        for user, password in (("joe", "four"), ("ann", "five"), ("bob", "three")):
            self.assertTrue(let_in(broker, user, password))
        for user, password in (("joe", "one"), ("ann", "two")):
            self.assertFalse(let_in(broker, user, password))

    def test_a_file_in_plain_text_is_converted(self):
        self.path.write_text("# users\n\njoe:secret\r\n  ann : with blanks \nbob:a:b\n")
        self.path.chmod(0o600)
        self.assertIn("3 hashed, 0 were hashed already", self.passwd("-U", self.path))
        self.assertEqual(self.path.read_bytes().count(b"\r\n"), 1)
        self.assertEqual(self.lines()[:2], ["# users", ""])
        converted = self.path.read_text()
        self.assertIn("0 hashed, 3 were hashed already", self.passwd("-U", self.path))
        self.assertEqual(self.path.read_text(), converted)
        broker = self.mosquitto(anonymous=False, options=[f"password_file {self.path}"])
        for user, password in (("joe", "secret"), ("ann", "with blanks"), ("bob", "a:b")):
            self.assertTrue(let_in(broker, user, password), user)

    # --- the file ---

    def test_add_change_and_delete_keep_the_rest(self):
        self.passwd("-c", "-b", self.path, "joe", "x")
        self.assertEqual(self.path.stat().st_mode & 0o7777, 0o600)
        joe = self.lines()[0]
        self.path.write_text(f"# first\n{joe}\n\n# last, without a newline")
        self.assertIn("user 'ann' added", self.passwd("-b", self.path, "ann", "x"))
        self.assertEqual(self.lines()[:4], ["# first", joe, "", "# last, without a newline"])
        ann = self.lines()[4]
        self.assertIn("user 'joe' has a new password", self.passwd("-b", self.path, "joe", "x"))
        self.assertNotEqual(self.lines()[1], joe)
        self.assertEqual([self.lines()[0], *self.lines()[2:]], ["# first", "", "# last, without a newline", ann])
        self.assertIn("user 'joe' removed", self.passwd("-D", self.path, "joe"))
        self.assertEqual(self.lines(), ["# first", "", "# last, without a newline", ann])
        self.passwd("-D", self.path, "ann")
        self.assertIn("there is no user 'ann'", self.passwd("-D", self.path, "ann", code=1))
        self.assertTrue(self.nothing_beside())

    def test_owner_and_permissions_stay(self):
        self.passwd("-c", "-b", self.path, "joe", "x")
        self.path.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(self.path, 12345, 54321)
        before = self.path.stat()
        self.passwd("-b", self.path, "ann", "x")
        after = self.path.stat()
        self.assertEqual((after.st_mode, after.st_uid, after.st_gid), (before.st_mode, before.st_uid, before.st_gid))

    def test_a_file_that_everybody_may_read_is_a_warning(self):
        self.passwd("-c", "-b", self.path, "joe", "x")
        self.path.chmod(0o644)
        self.assertIn(f"chmod o-rwx {self.path}", self.passwd("-b", self.path, "ann", "x"))

    def test_links_and_other_things_are_refused(self):
        target = self.directory / "target"
        self.passwd("-c", "-b", target, "joe", "x")
        before = target.read_text()
        self.path.symlink_to(target)
        self.assertIn(f"is a symbolic link to {target}; name the file itself", self.passwd("-b", self.path, "ann", "x", code=1))
        self.assertIn("symbolic link", self.passwd("-c", "-b", self.path, "ann", "x", code=1))
        self.assertEqual(target.read_text(), before)
        self.assertTrue(self.path.is_symlink())
        os.mkfifo(self.directory / "fifo")
        self.assertIn("not a regular file", self.passwd("-b", self.directory / "fifo", "ann", "x", code=1))
        self.assertIn("not a regular file", self.passwd("-D", self.directory, "ann", code=1))

    def test_create_and_edit_are_not_mixed_up(self):
        self.assertIn("-c makes it", self.passwd("-b", self.path, "joe", "x", code=1))
        self.assertFalse(self.path.exists())
        self.passwd("-c", "-b", self.path, "joe", "x")
        before = self.path.read_text()
        self.assertIn("leave out -c", self.passwd("-c", "-b", self.path, "ann", "x", code=1))
        self.assertEqual(self.path.read_text(), before)
        self.assertIn("cannot make a new file", self.passwd("-c", "-b", "/nowhere/passwords", "joe", "x", code=1))

    def test_a_file_with_a_bad_line_is_left_alone(self):
        self.passwd("-c", "-b", self.path, "joe", "x")
        joe = self.lines()[0]
        self.path.write_text(f"{joe}\nann:plain\n\nnonsense\n{joe}\n")
        before = self.path.read_text()
        complaints = self.passwd("-b", self.path, "bob", "x", code=1)
        for at in (":2:5: error:", ":4:1: error:", ":5:1: error:"):
            self.assertIn(f"{self.path}{at}", complaints)
        self.assertIn("nothing was changed", complaints)
        self.assertNotIn("plain\n", complaints)
        self.assertEqual(self.path.read_text(), before)
        self.assertTrue(self.nothing_beside())

    def test_what_is_wrong_with_a_user_can_be_mended(self):
        self.passwd("-c", "-b", self.path, "joe", "x")
        joe = self.lines()[0]
        self.path.write_text(f"{joe}\nann:plain\n{joe}\n")
        self.path.chmod(0o600)
        self.assertIn(":3:1: error:", self.passwd("-D", self.path, "ann", code=1))
        self.passwd("-b", self.path, "joe", "x", code=1)
        self.path.write_text(f"{joe}\n{joe}\n")
        self.passwd("-b", self.path, "joe", "y")  # twice becomes once
        self.assertEqual(len(self.lines()), 1)
        self.path.write_text(f"{joe}\nann:plain\n")
        self.passwd("-b", self.path, "ann", "plain")
        self.assertRegex(self.lines()[1], r"^ann:\$7\$1000\$")

    def test_a_bad_line_in_plain_text_is_named(self):
        self.path.write_text("joe:secret\nann\nbob:\na b:c\n:x\nkim:$6$half\n")
        before = self.path.read_text()
        complaints = self.passwd("-U", self.path, code=1)
        for line in (2, 3, 5, 6):
            self.assertIn(f"{self.path}:{line}:1: error:", complaints)
        self.assertNotIn(":4:", complaints)
        self.assertEqual(self.path.read_text(), before)

    def test_twenty_edits_at_once_are_all_there(self):
        self.passwd("-c", "-b", self.path, "first", "x")
        threads = [threading.Thread(target=command, args=("passwd", "-b", self.path, f"user{n}", "x")) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({line.split(":")[0] for line in self.lines()}, {"first", *(f"user{n}" for n in range(20))})
        self.assertTrue(self.nothing_beside())

    def test_large_files(self):
        self.passwd("-c", "-b", "-H", "sha512", self.path, "joe", "x")
        secret = self.lines()[0].split(":")[1]
        count = settings.scaled(100_000, 1000)
        self.path.write_text("".join(f"device-{n}:{secret}\n" for n in range(count)))
        self.passwd("-b", self.path, "device-500", "y")
        self.passwd("-D", self.path, "device-501")
        self.assertEqual(len(self.lines()), count - 1)
        self.assertTrue(self.lines()[500].startswith("device-500:$7$"))

    # --- hashes ---

    def test_argon2id(self):
        done = command("passwd", "-c", "-b", "-H", "argon2id", self.path, "joe", "x")
        if "built without Argon2" in done.stderr:
            self.assertEqual(done.returncode, 64)
            self.assertFalse(self.path.exists())
            self.skipTest("built without Argon2")
        self.assertRegex(self.lines()[0], r"^joe:\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$")
        self.passwd("-b", "-H", "argon2id", "-I", "3", self.path, "ann", "x")
        self.assertIn("t=3", self.lines()[1])

    # --- where the password comes from ---

    def test_from_a_pipe_it_is_one_line(self):
        self.passwd("-c", self.path, "joe", stdin="one\ntwo\n")
        self.passwd(self.path, "ann", stdin="no newline")
        self.passwd(self.path, "bob", stdin="windows\r\n")
        for nothing in ("", "\n", "\r\n"):
            self.assertIn("password is empty", self.passwd(self.path, "kim", stdin=nothing, code=1))
        self.assertIn("NUL", self.passwd(self.path, "kim", stdin="a\0b\n", code=1))
        self.assertIn("at most 65535 bytes", self.passwd(self.path, "kim", stdin="x" * 65536 + "\n", code=1))
        broker = self.mosquitto(anonymous=False, options=[f"password_file {self.path}"])
        for user, password in (("joe", "one"), ("ann", "no newline"), ("bob", "windows")):
            self.assertTrue(let_in(broker, user, password))

    def test_on_the_command_line_it_comes_with_a_warning(self):
        self.assertIn("warning: with -b", self.passwd("-c", "-b", self.path, "joe", "x"))
        self.assertIn("password is empty", self.passwd("-b", self.path, "joe", "", code=1))
        self.passwd("-b", self.path, "--", "ann", "-dash")
        broker = self.mosquitto(anonymous=False, options=[f"password_file {self.path}"])
        self.assertTrue(let_in(broker, "ann", "-dash"))

    def test_usage_is_64(self):
        for arguments in ((), (self.path,), ("-b", self.path, "joe"), (self.path, "joe", "x"), ("-c", "-D", self.path, "joe"), ("-U", self.path, "joe"),
                          ("-b", "-U", self.path), ("-D", "-b", self.path, "joe", "x"), ("-H", "md5", self.path, "joe"), ("-I", "0", self.path, "joe"),
                          ("-I", "x", self.path, "joe"), ("-I", "2000001", self.path, "joe"), ("-H", "sha512", "-I", "5", self.path, "joe"),
                          ("-c", self.path, "a:b"), ("-c", self.path, ""), ("-c", self.path, "#x"), ("-c", self.path, "a\nb"), ("--crate", self.path, "joe")):
            with self.subTest(arguments=arguments):
                self.passwd(*arguments, code=64)
                self.assertFalse(self.path.exists())

    # --- at a terminal ---

    def at_terminal(self, *arguments):
        """A `heliograf passwd` whose standard input and error are a terminal; returns what talks to it."""
        terminal = Terminal([settings.BINARY, "passwd", *arguments])
        self.addCleanup(terminal.close)
        return terminal

    def test_a_terminal_asks_twice_and_shows_nothing(self):
        terminal = self.at_terminal("-c", self.path, "joe")
        terminal.expect("Password: ")
        self.assertFalse(terminal.echoes())
        terminal.type("typed secret\n")
        terminal.expect("Again: ")
        terminal.type("typed secret\n")
        self.assertEqual(terminal.end(), 0)
        self.assertIn("user 'joe' added", terminal.seen)
        self.assertNotIn("secret", terminal.seen)
        self.assertTrue(terminal.echoes())
        broker = self.mosquitto(anonymous=False, options=[f"password_file {self.path}"])
        self.assertTrue(let_in(broker, "joe", "typed secret"))

    def test_two_passwords_that_differ(self):
        terminal = self.at_terminal("-c", self.path, "joe")
        terminal.expect("Password: ")
        terminal.type("one\n")
        terminal.expect("Again: ")
        terminal.type("two\n")
        self.assertEqual(terminal.end(), 1)
        self.assertIn("not the same", terminal.seen)
        self.assertFalse(self.path.exists())

    def test_a_signal_gives_the_terminal_its_echo_back(self):
        for number, send in ((signal.SIGINT, lambda terminal: terminal.type("half\x03")), (signal.SIGTERM, lambda terminal: terminal.signal(signal.SIGTERM)),
                             (signal.SIGHUP, lambda terminal: terminal.signal(signal.SIGHUP))):
            with self.subTest(signal=number):
                terminal = self.at_terminal("-c", self.path, "joe")
                terminal.expect("Password: ")
                self.assertFalse(terminal.echoes())
                send(terminal)
                self.assertEqual(terminal.end(), -number)
                self.assertTrue(terminal.echoes())
                self.assertFalse(self.path.exists())

    def test_a_mistake_is_found_before_anybody_is_asked(self):
        terminal = self.at_terminal(self.path, "joe")
        self.assertEqual(terminal.end(), 1)
        self.assertNotIn("Password", terminal.seen)
        self.assertIn("-c makes it", terminal.seen)


class Terminal:
    """A program at a pseudo-terminal of its own, as its controlling one."""

    def __init__(self, words):
        self.ours, self.theirs = pty.openpty()
        self.seen = ""
        self.child = subprocess.Popen([str(word) for word in words], stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True,
                                      preexec_fn=self._take, env=clean_environment(SANITIZER_ENV))

    def _take(self):
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _read(self, seconds):
        if select.select([self.ours], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.ours, 4096).decode(errors="replace")
            except OSError:
                return False
            return True
        return False

    def expect(self, words):
        until = time.monotonic() + 20 * settings.PATIENCE
        while words not in self.seen:
            if time.monotonic() > until:
                raise AssertionError(f"no '{words}' in: {self.seen}")
            self._read(0.1)
        # The prompt is written before the echo is off; type only when it is.
        while self.echoes():
            if time.monotonic() > until:
                raise AssertionError("the terminal still echoes")
            time.sleep(0.005)

    def type(self, text):
        os.write(self.ours, text.encode())

    def signal(self, number):
        self.child.send_signal(number)

    def echoes(self):
        import termios
        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def end(self):
        code = self.child.wait(20 * settings.PATIENCE)
        while self._read(0):
            pass
        if re.search(r"Sanitizer|runtime error", self.seen):
            raise AssertionError(self.seen)
        return code

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for fd in (self.ours, self.theirs):
            os.close(fd)


if __name__ == "__main__":
    unittest.main()
