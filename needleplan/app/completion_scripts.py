"""Completion scripts of three shells. What they hold was made beforehand: no key press starts Python."""

from collections.abc import Sequence

from needleplan.app.completion import DescribedCommand, DescribedOption, Takes

_BASH_HEAD = """\
# Completion of needleplan in bash. For every shell to come:
#     needleplan completion bash > ~/.local/share/bash-completion/completions/needleplan

_needleplan_names() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word"); }
_needleplan_files() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); }
_needleplan_folders() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word"); }
_needleplan_names_or_files() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word"; compgen -f -- "$word")
}

_needleplan() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" number
    # --option=value comes as three words.
    [[ $word == "=" ]] && word=""
    [[ $before == "=" ]] && before="${COMP_WORDS[COMP_CWORD-2]}"
    for ((number = 1; number < COMP_CWORD; number++)); do
        [[ ${COMP_WORDS[number]} == -* ]] || { command="${COMP_WORDS[number]}"; break; }
    done
    COMPREPLY=()
    case "$command" in
"""
_BASH_TAIL = """\
    esac
}

complete -F _needleplan needleplan
"""
_ZSH_HEAD = """\
#compdef needleplan
# Completion of needleplan in zsh. For every shell to come, with that folder in fpath before compinit:
#     needleplan completion zsh > ~/.zfunc/_needleplan

_needleplan_names_or_files() { _alternative "names:name:($1)" "files:file:_files" }

_needleplan() {
    local context state state_descr line
    typeset -A opt_args
"""
_ZSH_TAIL = """\
    esac
}

if [ "$funcstack[1]" = "_needleplan" ]; then
    _needleplan "$@"
else
    compdef _needleplan needleplan
fi
"""
_FISH_HEAD = """\
# Completion of needleplan in fish. For every shell to come:
#     needleplan completion fish > ~/.config/fish/completions/needleplan.fish

complete -c needleplan -f
"""


def script_of(shell: str, commands: Sequence[DescribedCommand]) -> str:
    """The script of a shell.

    Args:
        shell: bash, zsh or fish.
        commands: the program, named "", and its commands.
    """
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _bash(commands: Sequence[DescribedCommand]) -> str:
    lines = []
    names = " ".join(command.name for command in commands if command.name)
    for command in commands:
        lines.append(f"    {command.name or chr(34) * 2})")
        values = [option for option in command.options if option.takes is not Takes.NOTHING]
        if values:
            lines.append('        case "$before" in')
            lines += [f"        {'|'.join(option.words)}) {_bash_action(option)}; return ;;" for option in values]
            lines.append("        esac")
        words = " ".join(word for option in command.options for word in option.words)
        if not command.name:
            lines.append(f"        _needleplan_names '{names} {words}' ;;")
            continue
        lines.append(f"        [[ $word == -* ]] && {{ _needleplan_names '{words}'; return; }}")
        # Which argument it is cannot be told without reading every option; they are alike in every command.
        lines.append(f"        {_bash_action(command.arguments[0]) if command.arguments else ':'} ;;")
    return _BASH_HEAD + "\n".join(lines) + "\n" + _BASH_TAIL


def _bash_action(option: DescribedOption) -> str:
    names = " ".join(option.names)
    return {
        Takes.NAME: f"_needleplan_names '{names}'",
        Takes.NAME_OR_FILE: f"_needleplan_names_or_files '{names}'",
        Takes.FILE: "_needleplan_files",
        Takes.FOLDER: "_needleplan_folders",
    }.get(option.takes, ":")


def _zsh(commands: Sequence[DescribedCommand]) -> str:
    program = next(command for command in commands if not command.name)
    own = " ".join(_zsh_option(option) for option in program.options)
    lines = [f"    _arguments -C {own} '1: :->command' '*:: :->arguments'", '    case "$state" in', "    command)"]
    described = " ".join(_zsh_quoted(f"{each.name}:{each.text}") for each in commands if each.name)
    lines += [f"        local -a known=({described})", "        _describe command known ;;", "    arguments)"]
    lines.append('        case "$line[1]" in')
    for command in commands:
        if command.name:
            specs = [_zsh_option(option) for option in command.options]
            specs += [
                _zsh_quoted(f"{'*' if each.repeats else ''}:{_zsh_text(each.text)}:{_zsh_action(each)}")
                for each in command.arguments
            ]
            lines.append(f"        {command.name}) _arguments {' '.join(specs)} ;;")
    lines.append("        esac ;;")
    return _ZSH_HEAD + "\n".join(lines) + "\n" + _ZSH_TAIL


def _zsh_option(option: DescribedOption) -> str:
    """The specification of an option; those with two spellings shut each other out."""
    value = "" if option.takes is Takes.NOTHING else f":value:{_zsh_action(option)}"
    others = "" if option.repeats else f"({' '.join(option.words)})"
    prefix = "*" if option.repeats else others
    specs = [_zsh_quoted(f"{prefix}{word}[{_zsh_text(option.text)}]{value}") for word in option.words]
    return " ".join(specs)


def _zsh_action(option: DescribedOption) -> str:
    names = " ".join(option.names)
    return {
        Takes.NAME: f"({names})",
        Takes.NAME_OR_FILE: f'{{_needleplan_names_or_files "{names}"}}',
        Takes.FILE: "_files",
        Takes.FOLDER: "_files -/",
    }.get(option.takes, " ")


def _zsh_text(text: str) -> str:
    return text.replace("\\", "").replace("[", "(").replace("]", ")").replace(":", ",")


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(commands: Sequence[DescribedCommand]) -> str:
    lines = []
    for command in commands:
        when = f"__fish_seen_subcommand_from {command.name}" if command.name else "__fish_use_subcommand"
        if command.name:
            lines.append(_fish_line("__fish_use_subcommand", ["-a", command.name], command.text))
        for option in command.options:
            words = []
            for word in option.words:
                words += ["-l", word[2:]] if word.startswith("--") else ["-s", word[1:]]
            lines.append(_fish_line(when, words + _fish_value(option), option.text))
        # As in bash: all arguments of a command are of the kind of its first.
        lines += [_fish_line(when, _fish_argument(each), "") for each in command.arguments[:1]]
    return _FISH_HEAD + "\n".join(line for line in lines if line) + "\n"


def _fish_value(option: DescribedOption) -> list[str]:
    names = f"'{' '.join(option.names)}'"
    return {
        Takes.NOTHING: [],
        Takes.NAME: ["-x", "-a", names],
        Takes.NAME_OR_FILE: ["-r", "-F", "-a", names],
        Takes.FILE: ["-r", "-F"],
        Takes.FOLDER: ["-x", "-a", "'(__fish_complete_directories)'"],
    }.get(option.takes, ["-x"])


def _fish_argument(argument: DescribedOption) -> list[str]:
    names = f"'{' '.join(argument.names)}'"
    return {
        Takes.NAME: ["-a", names],
        Takes.NAME_OR_FILE: ["-F", "-a", names],
        Takes.FILE: ["-F"],
        Takes.FOLDER: ["-a", "'(__fish_complete_directories)'"],
    }.get(argument.takes, [])


def _fish_line(when: str, words: list[str], text: str) -> str:
    if not words:
        return ""
    told = " -d '" + text.replace("\\", "").replace("'", "\\'") + "'" if text else ""
    return f"complete -c needleplan -n '{when}' {' '.join(words)}{told}"
