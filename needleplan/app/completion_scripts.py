"""Completion scripts of three shells. What they hold was made beforehand: no key press starts Python."""

from collections.abc import Sequence

from needleplan.app.completion import DescribedCommand, DescribedOption, Takes

_BASH_HEAD = """\
# Completion of needleplan in bash. For every shell to come, where the package bash-completion is installed:
#     mkdir -p ~/.local/share/bash-completion/completions
#     needleplan completion bash > ~/.local/share/bash-completion/completions/needleplan
# Else, with this line in ~/.bashrc:
#     source <(needleplan completion bash)

_needleplan_offer() {
    mapfile -t COMPREPLY
    # Of a value that holds a colon, the line keeps what stands before it.
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
_needleplan_names() { _needleplan_offer < <(compgen -W "$1" -- "$value"); }
_needleplan_files() { compopt -o filenames; _needleplan_offer < <(compgen -f -- "$value"); }
_needleplan_folders() { compopt -o filenames; _needleplan_offer < <(compgen -d -- "$value"); }
_needleplan_names_or_files() {
    compopt -o filenames
    _needleplan_offer < <(compgen -W "$1" -- "$value"; compgen -f -- "$value")
}

_needleplan() {
    local rest="${COMP_LINE:0:COMP_POINT}" piece="" gap="" word="" command="" option="" valued="" value kept
    local -i index number=0 ended=0
    local -a words=()
    # bash also parts words at signs such as = and :, and its last one goes on behind the cursor.
    for ((index = 0; index < COMP_CWORD; index++)); do
        piece="${COMP_WORDS[index]}"
        gap="${rest%%"$piece"*}"
        rest="${rest#"$gap$piece"}"
        if [[ -z $gap ]] && ((index)); then words[-1]+="$piece"; else words+=("$piece"); fi
    done
    gap="${rest%%[![:blank:]]*}"
    piece="$2"
    [[ -z $piece && $rest != *[[:blank:]\\"\\'] ]] && piece="${rest#"$gap"}"
    if [[ -z $gap ]]; then word="${words[-1]}$piece"; unset 'words[-1]'; else word="$piece"; fi
    for piece in "${words[@]:1}"; do
        if [[ -n $option ]]; then
            option=""
        elif ((! ended)) && [[ $piece == -- ]]; then
            ended=1
        elif ((! ended)) && [[ $piece == -* ]]; then
            [[ " $valued " == *" $piece "* ]] && option="$piece"
        elif [[ -z $command ]]; then
            command="$piece"
            _needleplan_valued
        else
            number+=1
        fi
    done
    value="$word"
    if [[ -z $option && $word == -*=* ]] && ((! ended)); then
        option="${word%%=*}"
        value="${word#*=}"
    fi
    kept="${value%"$2"}"
    COMPREPLY=()
    case "$command" in
"""
_BASH_TAIL = """\
    esac
}

_needleplan_valued() {
    case "$command" in
%s
    esac
}

complete -F _needleplan needleplan
"""
_ZSH_HEAD = """\
#compdef needleplan
# Completion of needleplan in zsh. For every shell to come:
#     mkdir -p ~/.zfunc
#     needleplan completion zsh > ~/.zfunc/_needleplan
# and in ~/.zshrc, before any compinit that stands there:
#     fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit

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
#     mkdir -p ~/.config/fish/completions
#     needleplan completion fish > ~/.config/fish/completions/needleplan.fish

# True where the command is the first argument and, where a number is given, so many others stand before the cursor.
function __needleplan_at --argument-names wanted wanted_number
    set -l words (commandline -opc)
    set -l command ""
    set -l valued
    set -l number 0
    set -l ended no
    set -l value_follows no
    for word in $words[2..-1]
        if test $value_follows = yes
            set value_follows no
        else if test $ended = no -a "x$word" = x--
            set ended yes
        else if test $ended = no; and string match -q -- '-*' $word
            contains -- $word $valued; and set value_follows yes
        else if test -z "$command"
            set command $word
            set valued (__needleplan_valued $command)
        else
            set number (math $number + 1)
        end
    end
    test "x$command" = "x$wanted"; or return 1
    test -z "$wanted_number"; or test $number -eq $wanted_number
end

"""


def script_of(shell: str, commands: Sequence[DescribedCommand]) -> str:
    """The script of a shell.

    Args:
        shell: bash, zsh or fish.
        commands: the program, named "", and its commands.
    """
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _bash(commands: Sequence[DescribedCommand]) -> str:
    names = " ".join(command.name for command in commands if command.name)
    lines = []
    for command in commands:
        lines.append(f"    {command.name or chr(34) * 2})")
        if command.name:
            lines.append('        case "$option" in')
            lines += [
                f"        {'|'.join(option.words)}) {_bash_action(option)}; return ;;"
                for option in _valued(command)
            ]
            lines += ["        ?*) return ;;", "        esac"]
        words = " ".join(word for option in command.options for word in option.words)
        lines.append(f"        [[ $word == -* ]] && ((! ended)) && {{ _needleplan_names '{words}'; return; }}")
        if not command.name:
            lines.append(f"        _needleplan_names '{names}' ;;")
            continue
        lines.append('        case "$number" in')
        for number, argument in enumerate(command.arguments):
            lines.append(f"        {'*' if argument.repeats else number}) {_bash_action(argument)} ;;")
        lines.append("        esac ;;")
    valued = [f"    {each.name}) valued='{_valued_words(each)}' ;;" for each in commands if each.name]
    return _BASH_HEAD + "\n".join(lines) + "\n" + _BASH_TAIL % "\n".join(valued)


def _valued(command: DescribedCommand) -> list[DescribedOption]:
    """The options that take a value."""
    return [option for option in command.options if option.takes is not Takes.NOTHING]


def _valued_words(command: DescribedCommand) -> str:
    return " ".join(word for option in _valued(command) for word in option.words)


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
    lines = [
        f"    _arguments -S -C {own} '1: :->command' '*:: :->arguments'",
        '    case "$state" in',
        "    command)",
    ]
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
            lines.append(f"        {command.name}) _arguments -S {' '.join(specs)} ;;")
    lines.append("        esac ;;")
    return _ZSH_HEAD + "\n".join(lines) + "\n" + _ZSH_TAIL


def _zsh_option(option: DescribedOption) -> str:
    """The specification of an option; those with two spellings shut each other out."""
    value, sign = "", ""
    if option.takes is not Takes.NOTHING:
        # The sign lets the value stand in the option's word as well as in the next one.
        value, sign = f":value:{_zsh_action(option)}", "="
    others = "" if option.repeats else f"({' '.join(option.words)})"
    prefix = "*" if option.repeats else others
    specs = [_zsh_quoted(f"{prefix}{word}{sign}[{_zsh_text(option.text)}]{value}") for word in option.words]
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
    lines = ["function __needleplan_valued", "    switch $argv[1]"]
    for command in commands:
        if _valued_words(command):
            lines += [f"        case {command.name}", f"            string split ' ' -- '{_valued_words(command)}'"]
    lines += ["    end", "end", "", "complete -c needleplan -f"]
    for command in commands:
        when = f"__needleplan_at {command.name or chr(34) * 2}"
        if command.name:
            lines.append(_fish_line('__needleplan_at ""', ["-a", command.name], command.text))
        for option in command.options:
            words = []
            for word in option.words:
                words += ["-l", word[2:]] if word.startswith("--") else ["-s", word[1:]]
            lines.append(_fish_line(when, words + _fish_value(option), option.text))
        for number, argument in enumerate(command.arguments):
            there = when if argument.repeats else f"{when} {number}"
            lines.append(_fish_line(there, _fish_argument(argument), ""))
    return _FISH_HEAD + "\n".join(lines) + "\n"


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
    told = " -d '" + text.replace("\\", "").replace("'", "\\'") + "'" if text else ""
    return f"complete -c needleplan -n '{when}' {' '.join(words)}{told}"
