"""The parts of the job `explain`: maps and their scores, masks of objects, boxes, figures."""
