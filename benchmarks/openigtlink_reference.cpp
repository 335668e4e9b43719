// The reference library of OpenIGTLink as a peer: it writes messages, prints them, sends and receives them.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <time.h>
#include <vector>

#include "igtlClientSocket.h"
#include "igtlImageMessage.h"
#include "igtlMessageHeader.h"
#include "igtlNDArrayMessage.h"
#include "igtlPointMessage.h"
#include "igtlPolyDataMessage.h"
#include "igtlPositionMessage.h"
#include "igtlSensorMessage.h"
#include "igtlServerSocket.h"
#include "igtlStatusMessage.h"
#include "igtlStringMessage.h"
#include "igtlTrackingDataMessage.h"
#include "igtlTrajectoryMessage.h"
#include "igtlTransformMessage.h"

static igtl::Matrix4x4 pose = {
    {0.36f, 0.48f, -0.8f, 10.5f}, {-0.8f, 0.6f, 0.0f, -20.25f}, {0.48f, 0.64f, 0.6f, 30.125f}, {0, 0, 0, 1}};

static double now() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void save(const std::string& folder, const char* name, igtl::MessageBase* message, const char* device) {
  message->SetDeviceName(device);
  message->SetTimeStamp(1700000000u, 0x80000001u);
  message->Pack();
  std::ofstream file((folder + "/" + name + ".bin").c_str(), std::ios::binary);
  file.write(static_cast<const char*>(message->GetPackPointer()), message->GetPackSize());
}

static int write(const std::string& folder) {
  igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
  transform->SetMatrix(pose);
  save(folder, "TRANSFORM", transform, "Needle");

  igtl::PositionMessage::Pointer position = igtl::PositionMessage::New();
  position->SetPosition(1.5f, -2.5f, 3.5f);
  position->SetQuaternion(0.5f, -0.5f, 0.5f, 0.5f);
  save(folder, "POSITION", position, "Needle");

  igtl::StringMessage::Pointer text = igtl::StringMessage::New();
  text->SetString("plan 7: select 2");
  save(folder, "STRING", text, "Command");

  igtl::StatusMessage::Pointer status = igtl::StatusMessage::New();
  status->SetCode(igtl::StatusMessage::STATUS_NOT_READY);
  status->SetSubCode(-77);
  status->SetErrorName("stale");
  status->SetStatusString("the needle was not seen for 300 ms");
  save(folder, "STATUS", status, "Session");

  igtl::PointMessage::Pointer points = igtl::PointMessage::New();
  for (int i = 0; i < 2; i++) {
    igtl::PointElement::Pointer point = igtl::PointElement::New();
    point->SetName(i ? "target" : "entry");
    point->SetGroupName("Fiducial");
    point->SetRGBA(10, 20, 30, 255 - i);
    point->SetPosition(1.25f + i, -2.5f, 3.75f);
    point->SetRadius(4.5f);
    point->SetOwner("CT");
    points->AddPointElement(point);
  }
  save(folder, "POINT", points, "Points");

  igtl::TrajectoryMessage::Pointer paths = igtl::TrajectoryMessage::New();
  for (int i = 0; i < 2; i++) {
    igtl::TrajectoryElement::Pointer path = igtl::TrajectoryElement::New();
    path->SetName(i ? "needle 2" : "needle 1");
    path->SetGroupName("Trajectory");
    path->SetType(igtl::TrajectoryElement::TYPE_ENTRY_TARGET);
    path->SetRGBA(255, 128, 0, 200);
    path->SetEntryPosition(1.5f, 2.5f, 3.5f + i);
    path->SetTargetPosition(-4.5f, -5.5f, -6.5f);
    path->SetRadius(1.75f);
    path->SetOwner("CT");
    paths->AddTrajectoryElement(path);
  }
  save(folder, "TRAJ", paths, "Plan");

  igtl::SensorMessage::Pointer sensor = igtl::SensorMessage::New();
  sensor->SetLength(3);
  igtl::Unit::Pointer unit = igtl::Unit::New();
  unit->SetPrefix(igtl::Unit::SI_PREFIX_MILLI);
  unit->Append(igtl::Unit::SI_BASE_METER, 1);
  sensor->SetUnit(unit);
  for (int i = 0; i < 3; i++) sensor->SetValue(i, 0.1 + i);
  save(folder, "SENSOR", sensor, "Belt");

  igtl::NDArrayMessage::Pointer numbers = igtl::NDArrayMessage::New();
  igtl::Array<igtlFloat32> array;
  std::vector<igtlUint16> size(2);
  size[0] = 2;
  size[1] = 3;
  array.SetSize(size);
  float values[6] = {0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f};
  array.SetArray(values);
  numbers->SetArray(igtl::NDArrayMessage::TYPE_FLOAT32, &array);
  save(folder, "NDARRAY", numbers, "Table");

  igtl::TrackingDataMessage::Pointer tracking = igtl::TrackingDataMessage::New();
  for (int i = 0; i < 2; i++) {
    igtl::TrackingDataElement::Pointer tool = igtl::TrackingDataElement::New();
    tool->SetName(i ? "Reference" : "Needle");
    tool->SetType(igtl::TrackingDataElement::TYPE_6D);
    tool->SetMatrix(pose);
    tracking->AddTrackingDataElement(tool);
  }
  save(folder, "TDATA", tracking, "Tracker");

  igtl::StartTrackingDataMessage::Pointer start = igtl::StartTrackingDataMessage::New();
  start->SetResolution(20);
  start->SetCoordinateName("Patient");
  save(folder, "STT_TDATA", start, "Tracker");
  igtl::GetTrajectoryMessage::Pointer get = igtl::GetTrajectoryMessage::New();
  save(folder, "GET_TRAJ", get, "Plan");

  igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
  image->SetDimensions(3, 4, 5);
  image->SetSubVolume(2, 3, 2, 1, 1, 3);
  image->SetSpacing(0.5f, 1.0f, 2.0f);
  image->SetScalarTypeToInt16();
  image->SetEndian(igtl::ImageMessage::ENDIAN_LITTLE);
  image->SetCoordinateSystem(igtl::ImageMessage::COORDINATE_RAS);
  float normals[3][3] = {{0.36f, 0.48f, -0.8f}, {-0.8f, 0.6f, 0.0f}, {0.48f, 0.64f, 0.6f}};
  image->SetNormals(normals);
  image->SetOrigin(7.0f, 8.0f, 9.0f);
  image->AllocateScalars();
  short* voxels = static_cast<short*>(image->GetScalarPointer());
  for (short i = 0; i < 12; i++) voxels[i] = 100 * i - 300;
  save(folder, "IMAGE", image, "CT");

  igtl::PolyDataMessage::Pointer surface = igtl::PolyDataMessage::New();
  igtl::PolyDataPointArray::Pointer corners = igtl::PolyDataPointArray::New();
  float places[4][3] = {{0, 0, 0}, {1.5f, 0, 0}, {0, 2.5f, 0}, {0, 0, 3.5f}};
  for (int i = 0; i < 4; i++) corners->AddPoint(places[i]);
  surface->SetPoints(corners);
  igtl::PolyDataCellArray::Pointer faces = igtl::PolyDataCellArray::New();
  igtlUint32 triangles[4][3] = {{0, 2, 1}, {0, 1, 3}, {1, 2, 3}, {0, 3, 2}};
  for (int i = 0; i < 4; i++) faces->AddCell(3, triangles[i]);
  surface->SetPolygons(faces);
  igtl::PolyDataCellArray::Pointer lines = igtl::PolyDataCellArray::New();
  igtlUint32 line[3] = {0, 1, 2};
  lines->AddCell(3, line);
  lines->AddCell(2, line);
  surface->SetLines(lines);
  surface->SetVertices(igtl::PolyDataCellArray::New());
  surface->SetTriangleStrips(igtl::PolyDataCellArray::New());
  for (int i = 0; i < 2; i++) {
    igtl::PolyDataAttribute::Pointer attribute = igtl::PolyDataAttribute::New();
    attribute->SetType(i ? igtl::PolyDataAttribute::POINT_NORMAL : igtl::PolyDataAttribute::POINT_SCALAR);
    attribute->SetName(i ? "normals" : "margin");
    attribute->SetSize(4);
    float data[12] = {0.5f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11.5f};
    attribute->SetData(data);
    surface->AddAttribute(attribute);
  }
  save(folder, "POLYDATA", surface, "Tumour");
  return 0;
}

// One line for the content of a message; false where the library cannot read it.
static bool describe(igtl::MessageHeader* header, igtl::MessageBase* body, std::ostream& out) {
  const std::string type = header->GetDeviceType();
  unsigned int seconds, fraction;
  header->GetTimeStamp(&seconds, &fraction);
  out << type << " " << header->GetDeviceName() << " " << seconds << " " << fraction;
  if (type == "TRANSFORM") {
    igtl::Matrix4x4 m;
    static_cast<igtl::TransformMessage*>(body)->GetMatrix(m);
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 4; j++) out << " " << m[i][j];
  } else if (type == "POSITION") {
    float p[3], q[4];
    static_cast<igtl::PositionMessage*>(body)->GetPosition(p);
    static_cast<igtl::PositionMessage*>(body)->GetQuaternion(q);
    out << " " << p[0] << " " << p[1] << " " << p[2] << " " << q[0] << " " << q[1] << " " << q[2] << " " << q[3];
  } else if (type == "STRING") {
    igtl::StringMessage* text = static_cast<igtl::StringMessage*>(body);
    out << " " << text->GetEncoding() << " " << text->GetString();
  } else if (type == "STATUS") {
    igtl::StatusMessage* status = static_cast<igtl::StatusMessage*>(body);
    out << " " << status->GetCode() << " " << status->GetSubCode() << " " << status->GetErrorName() << " "
        << status->GetStatusString();
  } else if (type == "POINT") {
    igtl::PointMessage* points = static_cast<igtl::PointMessage*>(body);
    for (int i = 0; i < points->GetNumberOfPointElement(); i++) {
      igtl::PointElement::Pointer point;
      points->GetPointElement(i, point);
      float p[3];
      point->GetPosition(p);
      out << " " << point->GetName() << " " << p[0] << " " << p[1] << " " << p[2] << " " << point->GetRadius();
    }
  } else if (type == "TRAJ") {
    igtl::TrajectoryMessage* paths = static_cast<igtl::TrajectoryMessage*>(body);
    for (int i = 0; i < paths->GetNumberOfTrajectoryElement(); i++) {
      igtl::TrajectoryElement::Pointer path;
      paths->GetTrajectoryElement(i, path);
      float a[3], b[3];
      path->GetEntryPosition(a);
      path->GetTargetPosition(b);
      out << " " << path->GetName() << " " << int(path->GetType()) << " " << a[0] << " " << a[1] << " " << a[2] << " "
          << b[0] << " " << b[1] << " " << b[2] << " " << path->GetRadius();
    }
  } else if (type == "SENSOR") {
    igtl::SensorMessage* sensor = static_cast<igtl::SensorMessage*>(body);
    for (unsigned int i = 0; i < sensor->GetLength(); i++) out << " " << sensor->GetValue(i);
  } else if (type == "TDATA") {
    igtl::TrackingDataMessage* tracking = static_cast<igtl::TrackingDataMessage*>(body);
    for (int i = 0; i < tracking->GetNumberOfTrackingDataElements(); i++) {
      igtl::TrackingDataElement::Pointer tool;
      tracking->GetTrackingDataElement(i, tool);
      igtl::Matrix4x4 m;
      tool->GetMatrix(m);
      out << " " << tool->GetName() << " " << m[0][3] << " " << m[1][3] << " " << m[2][3];
    }
  } else if (type == "IMAGE") {
    igtl::ImageMessage* image = static_cast<igtl::ImageMessage*>(body);
    int size[3], part[3], offset[3];
    float origin[3];
    image->GetDimensions(size);
    image->GetSubVolume(part, offset);
    image->GetOrigin(origin);
    long sum = 0;
    const short* voxels = static_cast<const short*>(image->GetScalarPointer());
    for (int i = 0; i < part[0] * part[1] * part[2]; i++) sum += voxels[i] * (i + 1);
    for (int i = 0; i < 3; i++) out << " " << size[i] << " " << part[i] << " " << offset[i] << " " << origin[i];
    out << " " << sum;
  } else if (type == "NDARRAY") {
    igtl::NDArrayMessage* numbers = static_cast<igtl::NDArrayMessage*>(body);
    const float* values = static_cast<const float*>(numbers->GetArray()->GetRawArray());
    for (unsigned int i = 0; i < numbers->GetArray()->GetRawArraySize() / sizeof(float); i++) out << " " << values[i];
  } else if (type == "POLYDATA") {
    igtl::PolyDataMessage* surface = static_cast<igtl::PolyDataMessage*>(body);
    float p[3];
    surface->GetPoints()->GetPoint(surface->GetPoints()->GetNumberOfPoints() - 1, p);
    igtlUint32 face[3];
    surface->GetPolygons()->GetCell(surface->GetPolygons()->GetNumberOfCells() - 1, face);
    out << " " << surface->GetPoints()->GetNumberOfPoints() << " " << p[0] << " " << p[1] << " " << p[2] << " "
        << surface->GetPolygons()->GetNumberOfCells() << " " << face[0] << " " << face[1] << " " << face[2] << " "
        << surface->GetNumberOfAttributes();
  }
  out << std::endl;
  return true;
}

static igtl::MessageBase::Pointer make(const std::string& type) {
  if (type == "TRANSFORM") return igtl::TransformMessage::New().GetPointer();
  if (type == "POSITION") return igtl::PositionMessage::New().GetPointer();
  if (type == "STRING") return igtl::StringMessage::New().GetPointer();
  if (type == "STATUS") return igtl::StatusMessage::New().GetPointer();
  if (type == "POINT") return igtl::PointMessage::New().GetPointer();
  if (type == "TRAJ") return igtl::TrajectoryMessage::New().GetPointer();
  if (type == "SENSOR") return igtl::SensorMessage::New().GetPointer();
  if (type == "TDATA") return igtl::TrackingDataMessage::New().GetPointer();
  if (type == "IMAGE") return igtl::ImageMessage::New().GetPointer();
  if (type == "NDARRAY") return igtl::NDArrayMessage::New().GetPointer();
  if (type == "POLYDATA") return igtl::PolyDataMessage::New().GetPointer();
  return NULL;
}

// Reads one message through get(bytes, count); 1 where it was read, 0 at the end, -1 where it is damaged.
template <class Get>
static int next(Get get, igtl::MessageHeader::Pointer& header, igtl::MessageBase::Pointer& body) {
  header = igtl::MessageHeader::New();
  header->InitPack();
  if (!get(header->GetPackPointer(), header->GetPackSize())) return 0;
  header->Unpack();
  body = make(header->GetDeviceType());
  if (body.IsNull()) return -1;
  body->SetMessageHeader(header);
  body->AllocatePack();
  if (!get(body->GetPackBodyPointer(), body->GetPackBodySize())) return -1;
  return body->Unpack(1) & igtl::MessageHeader::UNPACK_BODY ? 1 : -1;
}

struct FromFile {
  std::ifstream* file;
  bool operator()(void* bytes, int count) {
    return count == 0 || bool(file->read(static_cast<char*>(bytes), count));
  }
};

struct FromSocket {
  igtl::Socket* socket;
  bool operator()(void* bytes, int count) { return count == 0 || socket->Receive(bytes, count) == count; }
};

static int read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  FromFile from = {&file};
  igtl::MessageHeader::Pointer header;
  igtl::MessageBase::Pointer body;
  int state;
  while ((state = next(from, header, body)) == 1) describe(header, body, std::cout);
  return state == 0 ? 0 : 3;
}

static igtl::ClientSocket::Pointer call(int port) {
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer("127.0.0.1", port) != 0) std::exit(4);
  return socket;
}

static int receive(int port, int count) {
  igtl::ClientSocket::Pointer socket = call(port);
  FromSocket from = {socket};
  igtl::MessageHeader::Pointer header;
  igtl::MessageBase::Pointer body;
  for (int i = 0; i < count; i++) {
    if (next(from, header, body) != 1) return 3;
    describe(header, body, std::cout);
  }
  socket->CloseSocket();
  return 0;
}

static void stream(igtl::Socket* socket, int count, double rate) {
  igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
  const double begin = now();
  for (int i = 0; i < count; i++) {
    if (rate > 0) {
      const double wait = begin + i / rate - now();
      if (wait > 0) {
        timespec pause = {time_t(wait), long(1e9 * (wait - time_t(wait)))};
        nanosleep(&pause, NULL);
      }
    }
    pose[0][3] = float(i);
    transform->SetMatrix(pose);
    transform->SetDeviceName("Needle");
    const double t = now();
    transform->SetTimeStamp((unsigned int)t, (unsigned int)((t - (unsigned int)t) * 4294967296.0));
    transform->Pack();
    socket->Send(transform->GetPackPointer(), transform->GetPackSize());
  }
}

// Latency of each transform in ms, then the time of arrival of the first and last.
static int measure(int port, int count) {
  igtl::ClientSocket::Pointer socket = call(port);
  FromSocket from = {socket};
  igtl::MessageHeader::Pointer header;
  igtl::MessageBase::Pointer body;
  std::vector<double> latencies;
  double first = 0, last = 0;
  for (int i = 0; i < count && next(from, header, body) == 1; i++) {
    last = now();
    if (i == 0) first = last;
    unsigned int seconds, fraction;
    header->GetTimeStamp(&seconds, &fraction);
    latencies.push_back(1e3 * (last - seconds - fraction / 4294967296.0));
  }
  for (size_t i = 0; i < latencies.size(); i++) std::printf("%.6f\n", latencies[i]);
  std::printf("%.6f %.6f\n", first, last);
  return 0;
}

static int serve(int port, int count, double rate) {
  igtl::ServerSocket::Pointer server = igtl::ServerSocket::New();
  if (server->CreateServer(port) != 0) return 4;
  std::cout << "port " << server->GetServerPort() << std::endl;
  igtl::ClientSocket::Pointer client = server->WaitForConnection(20000);
  if (client.IsNull()) return 5;
  stream(client, count, rate);
  char end;
  client->Receive(&end, 1);
  return 0;
}

int main(int count, char** words) {
  const std::string task = count > 2 ? words[1] : "";
  if (task == "write") return write(words[2]);
  if (task == "read") return read(words[2]);
  if (task == "receive" && count > 3) return receive(std::atoi(words[2]), std::atoi(words[3]));
  if (task == "measure" && count > 3) return measure(std::atoi(words[2]), std::atoi(words[3]));
  if (task == "serve" && count > 4) return serve(std::atoi(words[2]), std::atoi(words[3]), std::atof(words[4]));
  if (task == "send" && count > 4) {
    igtl::ClientSocket::Pointer socket = call(std::atoi(words[2]));
    stream(socket, std::atoi(words[3]), std::atof(words[4]));
    socket->CloseSocket();
    return 0;
  }
  std::cerr << "write FOLDER | read FILE | receive PORT N | measure PORT N | send PORT N RATE | serve PORT N RATE\n";
  return 2;
}
