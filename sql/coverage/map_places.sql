-- Where does each film lie on the map, and by which backbone's features?
SELECT dicom_id, x, y, backbone FROM map
