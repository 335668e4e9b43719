"""The SRDF of a robot: groups of joints, the tool, the home posture and the pairs of links that need no check.

The format is that of ROS's srdf package (https://wiki.ros.org/srdf), which MoveIt and Pinocchio read.
"""

from robots.description import JointKind, UrdfTree
from robots.model import RobotModel
from robots.urdf_reader import read_urdf

#: Names of the groups: the joints that carry the guide, the one that advances the needle, and all of them.
ARM_GROUP, DRIVER_GROUP, ROBOT_GROUP = "arm", "driver", "robot"
#: Name of the posture at rest.
HOME = "home"


def srdf_text(robot: RobotModel) -> str:
    """The text of the SRDF that belongs to the robot's URDF, also where that stands in a world.

    Pairs of links that the robot's description frees are disabled with the reason: ``Adjacent`` for links of one
    rigid body or joined by one joint, ``Never`` for those that shape and limits keep apart.
    """
    import xml.etree.ElementTree as ET

    tree = read_urdf(robot.urdf_path)
    guide = next(joint.parent for joint in tree.joints if joint.name == robot.driver_joint_name)
    out = ET.Element("robot", {"name": tree.name})
    arm = ET.SubElement(out, "group", {"name": ARM_GROUP})
    ET.SubElement(arm, "chain", {"base_link": robot.base_link, "tip_link": guide})
    driver = ET.SubElement(out, "group", {"name": DRIVER_GROUP})
    ET.SubElement(driver, "joint", {"name": robot.driver_joint_name})
    whole = ET.SubElement(out, "group", {"name": ROBOT_GROUP})
    for group in (ARM_GROUP, DRIVER_GROUP):
        ET.SubElement(whole, "group", {"name": group})
    home = ET.SubElement(out, "group_state", {"name": HOME, "group": ROBOT_GROUP})
    names = (*robot.joint_names, robot.driver_joint_name)
    for name, value in zip(names, (*robot.home.tolist(), 0.0), strict=True):
        ET.SubElement(home, "joint", {"name": name, "value": repr(value)})
    tool = {"name": "needle", "parent_link": guide, "group": DRIVER_GROUP, "parent_group": ARM_GROUP}
    ET.SubElement(out, "end_effector", tool)
    adjacent = _adjacent(tree)
    for pair in sorted(sorted(pair) for pair in robot.free_pairs):
        reason = "Adjacent" if frozenset(pair) in adjacent else "Never"
        ET.SubElement(out, "disable_collisions", {"link1": pair[0], "link2": pair[1], "reason": reason})
    ET.indent(out)
    return ET.tostring(out, encoding="unicode", xml_declaration=True) + "\n"


def _adjacent(tree: UrdfTree) -> set[frozenset[str]]:
    """Pairs of links of one rigid body, or of two that one joint joins."""
    body = {tree.root: tree.root}
    for joint in tree.joints:
        body[joint.child] = body[joint.parent] if joint.kind is JointKind.FIXED else joint.child
    joined = {frozenset((body[joint.parent], body[joint.child])) for joint in tree.joints}
    return {
        frozenset((first, second))
        for first in tree.links
        for second in tree.links
        if first != second and frozenset((body[first], body[second])) in joined | {frozenset((body[first],))}
    }
